package member

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/metrics"
	"github.com/sluicedaq/sluice/internal/usage"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// statusEvery is how often a member publishes its status.
const statusEvery = time.Second

// status publishes the member's own account.
type status struct {
	publisher *bus.Publisher
	board     *metrics.Board
	cfg       Config
	work      Work
	member    *link.Member
}

// run publishes until ctx ends.
func (s status) run(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h := s.work.Health()
		m := &bus.MemberStatus{
			Group: s.cfg.Group, PID: os.Getpid(), Software: config.Software(), Restarts: s.cfg.Restarts,
			Skipped: h.Skipped, RSSBytes: anonymous(), Goroutines: runtime.NumGoroutine(), Joined: s.member.Connected(),
			Refused: s.cfg.Refusals.Counts(),
			Work:    bus.Work{Frames: h.Frames, Bytes: h.Bytes, Busy: h.Busy, Starved: h.Starved, Blocked: h.Blocked},
		}
		var run frames.RunID
		if s.work.Status != nil {
			run = s.work.Status(h, m)
		}
		if err := s.publisher.Member(run, m); err != nil {
			s.cfg.Logger.Debug("a status is lost", "error", err)
		}
		s.board.Member(*m)
	}
}

// anonymous is this process's anonymous memory in bytes, 0 where the kernel does not say.
func anonymous() int64 {
	n, err := usage.Anonymous(os.Getpid())
	if err != nil {
		return 0
	}
	return n
}

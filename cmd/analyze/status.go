package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
)

// statusEvery is how often a member publishes its status.
const statusEvery = time.Second

// status publishes the member's own account.
type status struct {
	publisher *bus.Publisher
	analyzer  *analysis.Analyzer
	member    *link.Member
	restarts  int
	logger    *slog.Logger
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
		h := s.analyzer.Health()
		if err := s.publisher.Member(s.analyzer.Present(), &bus.MemberStatus{
			Group: group, PID: os.Getpid(), Software: config.Software(), Restarts: s.restarts,
			Skipped: h.Skipped, RSSBytes: anonymous(), Goroutines: runtime.NumGoroutine(), Joined: s.member.Connected(),
			Work: bus.Work{Frames: h.Frames, Bytes: h.Bytes, Busy: h.Busy, Starved: h.Starved, Blocked: h.Blocked},
		}); err != nil {
			s.logger.Debug("a status is lost", "error", err)
		}
	}
}

// anonymous is this process's anonymous memory in bytes, 0 where the kernel does not say.
func anonymous() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, text, _ = bytes.Cut(text, []byte("RssAnon:"))
	text, _, _ = bytes.Cut(text, []byte("kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

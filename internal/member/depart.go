package member

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// depart waits for the wish to stop and asks the work to leave; stop ends it at once, when hard is closed. ctx ends with
// asked, or when the supervisor is gone: then all go, and acquire drains for all. leaving is set where this member alone
// may be meant. It returns when working ends.
func depart(
	ctx, asked, working context.Context, hard <-chan struct{}, stop func(), work Work, leaving *atomic.Bool, m *link.Member, silence time.Duration,
) {
	select {
	case <-ctx.Done():
	case <-working.Done():
		return
	}
	orphaned := errors.Is(context.Cause(ctx), supervise.ErrParentGone)
	leaving.Store(!orphaned)
	work.Leave(orphaned)
	var second <-chan struct{} // who has no supervisor any more may still be asked
	if orphaned {
		second = asked.Done()
	}
	abandon := work.Abandon
	if abandon == nil {
		abandon = stop
	}
	tick := time.NewTicker(min(time.Second, silence))
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-working.Done():
			return
		case <-hard:
			stop()
			return
		case <-second:
			second = nil
			leaving.Store(true)
			work.Leave(false)
			continue
		case <-tick.C:
		}
		if last := m.Heard(); last.After(heard) {
			heard = last
		}
		if time.Since(heard) > silence {
			abandon()
		}
	}
}

package member

import (
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// orphanTime is how long a process that shall go waits for an acquire that is gone.
const orphanTime = 10 * time.Second

// depart waits for the wish to stop and asks the work to leave; stop ends it at once, when hard is closed. It returns
// when working ends.
func depart(ctx, working context.Context, hard <-chan struct{}, stop func(), work Work, m *link.Member) {
	select {
	case <-ctx.Done():
	case <-working.Done():
		return
	}
	work.Leave(errors.Is(context.Cause(ctx), supervise.ErrParentGone))
	abandon := work.Abandon
	if abandon == nil {
		abandon = stop
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	connected := time.Now()
	for {
		select {
		case <-working.Done():
			return
		case <-hard:
			stop()
			return
		case <-tick.C:
		}
		if m.Connected() {
			connected = time.Now()
		} else if time.Since(connected) > orphanTime {
			abandon()
		}
	}
}

package main

import (
	"context"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
)

// orphanTime is how long a writer that was asked to leave waits for an acquire that is gone.
const orphanTime = 10 * time.Second

// depart waits for the wish to stop and has the writer leave when the run is over; at once, by stop, when hard is
// closed or no acquire is there any more. It returns when working ends.
func depart(ctx, working context.Context, hard <-chan struct{}, stop func(), leave chan<- struct{}, m *link.Member) {
	select {
	case <-ctx.Done():
	case <-working.Done():
		return
	}
	close(leave)
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
			stop()
			return
		}
	}
}

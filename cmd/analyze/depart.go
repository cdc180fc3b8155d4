package main

import (
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// orphanTime is how long an analyser without its supervisor waits for an acquire that is gone.
const orphanTime = 10 * time.Second

// depart waits for the wish to stop and has the analyser follow it: after the run when the supervisor has died,
// since acquire then drains, else as soon as it has sent what it has; at once, by stop, when hard is closed. It
// returns when working ends.
func depart(ctx, working context.Context, hard <-chan struct{}, stop func(), a *analysis.Analyzer, m *link.Member) {
	select {
	case <-ctx.Done():
	case <-working.Done():
		return
	}
	orphan := errors.Is(context.Cause(ctx), supervise.ErrParentGone)
	if orphan {
		a.Drain()
	} else {
		a.Leave()
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
		switch {
		case m.Connected():
			connected = time.Now()
		case orphan && time.Since(connected) > orphanTime:
			a.Leave()
			orphan = false
		}
	}
}

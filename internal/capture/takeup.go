package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/slab"
)

// takeUp goes on with the runs that killed acquires of this camera left in their slabs: the newest goes on capturing
// where that is asked for, the others are drained before it.
func (c *Controller) takeUp(ctx context.Context) {
	defer close(c.looked)
	if err := slab.Sweep(c.cfg.ShmDir, c.cfg.Camera); err != nil {
		c.cfg.Logger.Warn("look for slabs from before", "error", err)
	}
	left, err := slab.Abandoned(c.cfg.ShmDir, c.cfg.Camera)
	if err != nil {
		c.cfg.Logger.Warn("look for slabs from before", "error", err)
		return
	}
	slices.SortFunc(left, func(a, b slab.Info) int { return a.Spec.Started.Compare(b.Spec.Started) })
	for i, info := range left {
		newest := i == len(left)-1
		runs, err := c.resume(ctx, info.Path, newest && c.cfg.Continue)
		if newest && c.cfg.Continue {
			c.mu.Lock()
			// A run that was only drained is this process's own if a supervisor has started it for that run.
			c.resumed, c.left = runs || err == nil && c.cfg.Restarts > 0 && info.Captured > 0, err
			c.mu.Unlock()
		}
		if err != nil {
			c.cfg.Logger.Warn("a run from before cannot go on: its frames stay in its slab until its writers have its store again; sluice slabs --rm --force gives them up", "slab", info.Path, "error", err)
			c.cfg.Herald.Event(info.Spec.Run, bus.Event{Kind: bus.EventFault, Text: fmt.Sprintf("slab %s: %v", info.Path, err), Code: exit.Code(err)})
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// Resumed waits until the runs that an earlier acquire left have been taken up, and reports whether the newest of them
// is this process's own: it goes on capturing, or a supervisor has started the process again for it and it has been
// drained. Wait waits for its end then, and no other is to be started. The error says why that run cannot go on.
func (c *Controller) Resumed(ctx context.Context) (bool, error) {
	if err := c.ready(ctx); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left != nil && c.cfg.Restarts > 0 {
		return false, coded(c.left)
	}
	return c.resumed, nil
}

// resume takes up the run in a slab. It returns when the run captures again (runs is set), waits for its start as it did
// before, or has been drained. A run that nobody will start again and that has no frame is forgotten.
func (c *Controller) resume(ctx context.Context, path string, goOn bool) (runs bool, err error) {
	sl, err := slab.Resume(path)
	if err != nil {
		return false, err
	}
	if sl.Captured() == 0 && (c.cfg.Restarts == 0 || !goOn) {
		return false, errors.Join(sl.Remove(), sl.Close())
	}
	phase := sl.Phase()
	arming, err := c.begin(ctx)
	if err != nil {
		return false, errors.Join(err, sl.Close())
	}
	c.mu.Lock()
	c.resuming = true
	c.mu.Unlock()
	s, err := c.resumeSession(arming, sl, goOn && (phase == slab.Capturing || phase == slab.Armed))
	if err == nil {
		s.number()
		c.mu.Lock()
		c.session = s
		c.mu.Unlock()
		if err = s.reoffer(arming); err == nil {
			err = s.goOn()
		}
	}
	c.mu.Lock()
	c.resuming = false
	if err == nil {
		err = context.Cause(arming) // given up in the last moment
	}
	if err != nil {
		c.session = nil
		c.mu.Unlock()
		c.cfg.Dispatcher.CloseRun()
		c.cfg.Herald.End(sl.Spec().Run)
		if s != nil {
			err = errors.Join(err, s.closeCamera())
		}
		state := bus.StateFault
		if sl.Captured() == 0 { // nothing is lost with it
			state, err = bus.StateIdle, errors.Join(err, sl.Remove())
		}
		err = errors.Join(err, sl.Close())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.settle(state, err.Error())
		return false, err
	}
	runs = s.cam != nil
	switch {
	case runs && phase == slab.Armed && s.ctx.Err() == nil: // nobody has stopped it meanwhile
		c.enter(bus.StateWaiting, "armed, waits for start")
		c.mu.Unlock()
		return false, nil
	case runs:
		c.enter(bus.StateRunning, "resumed after a restart")
	default:
		c.enter(bus.StateDraining, "resumed after a restart")
	}
	c.launch(s)
	settled := c.settled
	c.mu.Unlock()
	if !runs {
		select {
		case <-settled:
		case <-ctx.Done():
		}
	}
	return runs, nil
}

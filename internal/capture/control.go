package capture

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Arm implements bus.Control.
func (c *Controller) Arm(ctx context.Context, r bus.ArmRequest) (bus.Armed, error) {
	if err := c.ready(ctx); err != nil {
		return bus.Armed{}, err
	}
	if armed, err := c.again(r.Run); err != nil || armed != nil {
		return *cmp.Or(armed, &bus.Armed{}), err
	}
	ctx, err := c.begin(ctx)
	if err != nil {
		return bus.Armed{}, err
	}
	armed, err := c.arm(ctx, r)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused = unarmed{r.Run, err}
		c.settle(bus.StateIdle, err.Error())
		if c.telling.Allow() { // the asker knows anyway
			c.cfg.Herald.Event(frames.RunID{}, bus.Event{Kind: bus.EventRefused, Text: err.Error(), Code: exit.Code(err)})
		} else {
			c.cfg.Refusals.Count(refusal.Request, 1)
		}
		return bus.Armed{}, err
	}
	return armed, nil
}

// again answers a repeated request as the first: it describes the run that is there, if it is the one that is asked for,
// and refuses one that was refused or is over. It returns nil for a run that is new.
func (c *Controller) again(id frames.RunID) (*bus.Armed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case id.IsZero():
	case c.refused.run == id:
		return nil, c.refused.err
	case c.last != nil && c.last.Run == id:
		return nil, exit.Errorf(exit.Usage, "%w: run %s is over", ErrState, id.Short())
	case c.state != bus.StateArming && c.session != nil && c.session.spec.Run == id:
		armed := c.session.armed()
		return &armed, nil
	}
	return nil, nil
}

func (c *Controller) arm(ctx context.Context, r bus.ArmRequest) (bus.Armed, error) {
	opts, err := r.Apply(c.cfg.Defaults)
	if err != nil {
		return bus.Armed{}, &exit.Error{Code: exit.Usage, Err: err}
	}
	s, err := c.newSession(ctx, opts, r.Run)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return bus.Armed{}, coded(err)
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	err = s.offer(ctx)
	if err == nil {
		s.foreseen = s.forecast()
	}
	armed := s.armed()
	c.mu.Lock()
	if err == nil {
		err = context.Cause(ctx) // given up in the last moment
	}
	if err == nil {
		c.enter(bus.StateWaiting, "armed, waits for start")
		text := "armed " + s.spec.Geometry.String()
		if f := armed.Forecast; f != nil {
			text += "; " + f.Text
		}
		c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventArmed, Text: text, Armed: &armed})
	} else {
		c.session = nil
	}
	c.mu.Unlock()
	if err != nil {
		s.discard()
		return bus.Armed{}, coded(err)
	}
	return armed, nil
}

// coded gives an error the exit code that it stands for.
func coded(err error) error {
	code := exit.Internal
	switch {
	case errors.Is(err, camera.ErrSource), errors.Is(err, ErrBudget), errors.Is(err, slab.ErrNoSpace),
		errors.Is(err, slab.ErrForeign), errors.Is(err, dispatch.ErrRefusedUsage):
		code = exit.Usage
	case errors.Is(err, dispatch.ErrRefusedFull):
		code = exit.DiskFull
	case errors.Is(err, dispatch.ErrNoMember), errors.Is(err, dispatch.ErrRefused), errors.Is(err, ErrDisarmed):
		code = exit.Unavailable
	case errors.Is(err, camera.ErrFailed), errors.Is(err, camera.ErrTimeout):
		code = exit.EndedEarly
	}
	var known *exit.Error
	if errors.As(err, &known) {
		return err
	}
	return &exit.Error{Code: code, Err: err}
}

// Start implements bus.Control. A camera without an armed run is armed with acquire's own flags first.
func (c *Controller) Start(ctx context.Context, r bus.RunRequest) (bus.Ack, error) {
	if err := c.ready(ctx); err != nil {
		return bus.Ack{}, err
	}
	c.mu.Lock()
	idle := c.idle()
	c.mu.Unlock()
	if idle && r.Run.IsZero() {
		if _, err := c.Arm(ctx, bus.ArmRequest{}); err != nil {
			return bus.Ack{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.meant(r.Run); err != nil {
		return bus.Ack{}, err
	}
	if c.state != bus.StateWaiting {
		if c.session != nil && !r.Run.IsZero() && c.state != bus.StateArming {
			return c.ack(), nil // it was started before
		}
		return bus.Ack{}, c.busy()
	}
	c.session.slab.SetPhase(slab.Capturing)
	c.enter(bus.StateRunning, "")
	c.launch(c.session)
	return c.ack(), nil
}

// launch runs a session to its end in a goroutine that settled waits for. c.mu is held.
func (c *Controller) launch(s *session) {
	go func() {
		summary, err := s.run()
		c.mu.Lock()
		c.session = nil // its slab goes
		c.mu.Unlock()
		s.close(err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.lastErr = &summary, err
		state, reason := bus.StateIdle, "run "+s.spec.Run.Short()+" ended by "+summary.EndedBy
		if err != nil {
			state, reason = bus.StateFault, err.Error()
		}
		c.settle(state, reason)
	}()
}

// meant refuses a request for another run than the present one. c.mu is held.
func (c *Controller) meant(id frames.RunID) error {
	if id.IsZero() || c.session != nil && c.session.spec.Run == id {
		return nil
	}
	return exit.Errorf(exit.Usage, "%w: run %s is not the one that goes on", ErrState, id.Short())
}

// ack describes the present. c.mu is held.
func (c *Controller) ack() bus.Ack {
	a := bus.Ack{State: c.state}
	if c.session != nil {
		a.Run, a.Captured = c.session.spec.Run, c.session.slab.Captured()
	}
	return a
}

// Stop implements bus.Control. A run that is being taken up again is not disarmed: it has frames, and drains.
func (c *Controller) Stop(_ context.Context, r bus.StopRequest) (bus.Ack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.meant(r.Run); err != nil {
		return bus.Ack{}, err
	}
	s := c.session
	a := c.ack()
	if c.resuming {
		if s == nil {
			return bus.Ack{}, exit.Errorf(exit.Unavailable, "%w: a run from before is being taken up", ErrState)
		}
		s.stop(run.EndedStop)
	} else {
		c.end()
	}
	if a.State = c.state; a.State == bus.StateIdle {
		return a, nil
	}
	if r.Hard && s != nil && (c.resuming || a.State != bus.StateArming) {
		s.giveUp()
	}
	return a, nil
}

// Pause implements bus.Control.
func (c *Controller) Pause(ctx context.Context, r bus.RunRequest) (bus.Ack, error) {
	return c.ask(ctx, r, true)
}

// Resume implements bus.Control.
func (c *Controller) Resume(ctx context.Context, r bus.RunRequest) (bus.Ack, error) {
	return c.ask(ctx, r, false)
}

// heedTime is how long the camera loop may take to do what it was asked: it may wait for a frame.
const heedTime = time.Second

// ask has the camera loop pause or go on, and waits a while until the state says so.
func (c *Controller) ask(ctx context.Context, r bus.RunRequest, pause bool) (bus.Ack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.meant(r.Run); err != nil {
		return bus.Ack{}, err
	}
	if c.session == nil || c.state != bus.StateRunning && c.state != bus.StatePaused {
		return bus.Ack{}, exit.Errorf(exit.Usage, "%w: camera %s is %s, there is nothing to pause or resume", ErrState, c.cfg.Camera, c.state)
	}
	if !c.session.asked.set(pause) || pause == (c.state == bus.StatePaused) {
		return c.ack(), nil
	}
	changed := c.changed
	c.mu.Unlock()
	late := time.NewTimer(heedTime)
	defer late.Stop()
	select {
	case <-changed:
	case <-late.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	return c.ack(), nil
}

// Wait returns when no run is there or coming, one that an earlier acquire left included, with the newest summary.
func (c *Controller) Wait(ctx context.Context) (*run.Summary, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	settled := c.settled
	c.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.lastErr
}

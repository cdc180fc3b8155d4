package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Config is what a Controller needs.
type Config struct {
	Camera   string
	Defaults config.Capture // acquire's own flags
	// ShmDir is the memory file system for slabs, /dev/shm.
	ShmDir     string
	Dispatcher *dispatch.Dispatcher
	Publisher  *bus.Publisher
	Herald     *Herald
	// Open opens the source named by a URI.
	Open   func(ctx context.Context, uri string) (camera.Camera, error)
	Logger *slog.Logger
	// Restarts counts how often a supervisor has started this process again; Heartbeat is the link's.
	Restarts  int
	Heartbeat time.Duration
	// Continue says that a run left in a slab goes on capturing, rather than being only drained.
	Continue bool
	Host     string
}

// Controller answers the control service of one camera. Its methods may be called concurrently.
type Controller struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	state   bus.State
	since   time.Time
	reason  string
	session *session
	last    *run.Summary
	lastErr error
	settled chan struct{} // closed while no run is there or coming; renewed when one begins
	closing bool
	earlier bool // the present run is from before this process
	rates   rates
}

var _ bus.Control = (*Controller)(nil)

// New returns a Controller in the state idle.
func New(cfg Config) *Controller {
	c := &Controller{cfg: cfg, state: bus.StateIdle, since: time.Now(), settled: make(chan struct{})}
	close(c.settled)
	return c
}

// Run publishes the camera's status until ctx ends, first taking up a run that a killed acquire left. When ctx ends
// it stops the run that goes on and returns after its drain; hard, when closed, cuts that short.
func (c *Controller) Run(ctx context.Context, hard <-chan struct{}) error {
	beat, stop := context.WithCancel(context.WithoutCancel(ctx))
	var publishing sync.WaitGroup
	publishing.Go(func() { c.publish(beat) })
	defer publishing.Wait()
	defer stop()

	c.takeUp(ctx)
	<-ctx.Done()
	c.mu.Lock()
	c.closing = true
	s := c.session
	settled := c.settled
	c.mu.Unlock()
	if s != nil {
		s.stop(run.EndedStop)
	}
	select {
	case <-settled:
	case <-hard:
		if s != nil {
			s.giveUp()
		}
		<-settled
	}
	return nil
}

// enter changes the state. c.mu is held.
func (c *Controller) enter(s bus.State, reason string) {
	if c.state != s {
		c.state, c.since = s, time.Now()
	}
	c.reason = reason
}

// set changes the state of the session's run, unless it is over.
func (c *Controller) set(s *session, state bus.State, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.enter(state, reason)
	}
}

// begin makes sure that no other run is there and enters the state arming.
func (c *Controller) begin(ctx context.Context, wait bool) error {
	for {
		c.mu.Lock()
		switch {
		case c.closing:
			c.mu.Unlock()
			return exit.Errorf(exit.Unavailable, "%w: acquire is ending", ErrState)
		case c.state == bus.StateIdle || c.state == bus.StateFault:
			c.enter(bus.StateArming, "")
			c.settled = make(chan struct{})
			c.mu.Unlock()
			return nil
		case !wait || !c.earlier:
			err := exit.Errorf(exit.Usage, "%w: camera %s is %s%s; one run at a time", ErrState, c.cfg.Camera, c.state, c.runName())
			c.mu.Unlock()
			return err
		}
		settled := c.settled // a run from before is being drained: ours comes after it
		c.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return exit.Errorf(exit.Unavailable, "%w: the run from before is still being drained", ErrState)
		}
	}
}

func (c *Controller) runName() string {
	if c.session == nil {
		return ""
	}
	return " (run " + c.session.spec.Run.Short() + ")"
}

// settle ends what begin began. c.mu is held.
func (c *Controller) settle(state bus.State, reason string) {
	c.enter(state, reason)
	c.session = nil
	close(c.settled)
}

// Arm implements bus.Control.
func (c *Controller) Arm(ctx context.Context, r bus.ArmRequest) (bus.Armed, error) {
	if err := c.begin(ctx, true); err != nil {
		return bus.Armed{}, err
	}
	armed, err := c.arm(ctx, r)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.settle(bus.StateIdle, err.Error())
		c.cfg.Herald.Event(frames.RunID{}, bus.Event{Kind: bus.EventRefused, Text: err.Error(), Code: exit.Code(err)})
		return bus.Armed{}, err
	}
	return armed, nil
}

func (c *Controller) arm(ctx context.Context, r bus.ArmRequest) (bus.Armed, error) {
	opts, err := r.Apply(c.cfg.Defaults)
	if err != nil {
		return bus.Armed{}, &exit.Error{Code: exit.Usage, Err: err}
	}
	s, err := c.newSession(ctx, opts)
	if err != nil {
		return bus.Armed{}, coded(err)
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	if err := s.offer(ctx); err != nil {
		c.mu.Lock()
		c.session = nil
		c.mu.Unlock()
		s.discard()
		return bus.Armed{}, coded(err)
	}
	c.set(s, bus.StateWaiting, "armed, waits for start")
	armed := s.armed()
	c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventArmed, Text: "armed " + s.spec.Geometry.String(), Armed: &armed})
	return armed, nil
}

// coded gives an error the exit code that it stands for.
func coded(err error) error {
	code := exit.Internal
	switch {
	case errors.Is(err, camera.ErrSource), errors.Is(err, ErrBudget), errors.Is(err, slab.ErrNoSpace),
		errors.Is(err, slab.ErrForeign), errors.Is(err, dispatch.ErrRefusedUsage):
		code = exit.Usage
	case errors.Is(err, dispatch.ErrNoMember), errors.Is(err, dispatch.ErrRefused):
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
	c.mu.Lock()
	idle := c.state == bus.StateIdle || c.state == bus.StateFault
	c.mu.Unlock()
	if idle {
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
		return bus.Ack{}, exit.Errorf(exit.Usage, "%w: camera %s is %s%s; one run at a time", ErrState, c.cfg.Camera, c.state, c.runName())
	}
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
		c.last, c.lastErr, c.earlier = &summary, err, false
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

// Stop implements bus.Control.
func (c *Controller) Stop(_ context.Context, r bus.StopRequest) (bus.Ack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.meant(r.Run); err != nil {
		return bus.Ack{}, err
	}
	switch s := c.session; {
	case s == nil:
		return c.ack(), nil
	case c.state == bus.StateWaiting:
		c.enter(bus.StateIdle, "disarmed")
		a := c.ack()
		c.session = nil
		s.discard()
		c.settle(bus.StateIdle, "disarmed")
		return a, nil
	default:
		s.stop(run.EndedStop)
		if r.Hard {
			s.giveUp()
		}
		return c.ack(), nil
	}
}

// Pause implements bus.Control.
func (c *Controller) Pause(_ context.Context, r bus.RunRequest) (bus.Ack, error) {
	return c.ask(r, true)
}

// Resume implements bus.Control.
func (c *Controller) Resume(_ context.Context, r bus.RunRequest) (bus.Ack, error) {
	return c.ask(r, false)
}

func (c *Controller) ask(r bus.RunRequest, pause bool) (bus.Ack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.meant(r.Run); err != nil {
		return bus.Ack{}, err
	}
	if c.session == nil || c.state != bus.StateRunning && c.state != bus.StatePaused {
		return bus.Ack{}, exit.Errorf(exit.Usage, "%w: camera %s is %s, there is nothing to pause or resume", ErrState, c.cfg.Camera, c.state)
	}
	c.session.asked.set(pause)
	return c.ack(), nil
}

// Wait returns when no run is there or coming, with the newest summary.
func (c *Controller) Wait(ctx context.Context) (*run.Summary, error) {
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

// takeUp goes on with the run that a killed acquire of this camera left in its slab, if there is one.
func (c *Controller) takeUp(ctx context.Context) {
	left, err := slab.Abandoned(c.cfg.ShmDir, c.cfg.Camera)
	if err != nil {
		c.cfg.Logger.Warn("look for slabs from before", "error", err)
		return
	}
	for _, info := range left {
		if err := c.resume(ctx, info.Path); err != nil {
			c.cfg.Logger.Warn("a run from before cannot go on: its frames stay in its slab until its writers have its store again, or sluice slabs --rm", "slab", info.Path, "error", err)
			c.cfg.Herald.Event(info.Spec.Run, bus.Event{Kind: bus.EventFault, Text: fmt.Sprintf("slab %s: %v", info.Path, err), Code: exit.Code(err)})
			continue
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (c *Controller) resume(ctx context.Context, path string) error {
	sl, err := slab.Resume(path)
	if err != nil {
		return err
	}
	if sl.Captured() == 0 { // nothing is lost with it
		return errors.Join(sl.Remove(), sl.Close())
	}
	if err := c.begin(ctx, false); err != nil {
		return errors.Join(err, sl.Close())
	}
	s := c.resumeSession(sl)
	c.mu.Lock()
	c.session, c.earlier = s, true
	c.mu.Unlock()
	if err := s.reoffer(ctx); err != nil {
		c.cfg.Dispatcher.CloseRun()
		c.mu.Lock()
		c.session = nil
		c.mu.Unlock()
		err = errors.Join(err, sl.Close())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.earlier = false
		c.settle(bus.StateFault, err.Error())
		return err
	}
	c.mu.Lock()
	state := bus.StateDraining
	if c.cfg.Continue && sl.Phase() == slab.Capturing {
		state = bus.StateRunning
	}
	c.enter(state, "resumed after a restart")
	c.launch(s)
	settled := c.settled
	c.mu.Unlock()
	if state == bus.StateRunning {
		return nil
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
	return nil
}

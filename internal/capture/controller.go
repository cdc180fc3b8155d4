package capture

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/speed"
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
	// Present lists the members that live on this host, joined or not. It may be nil.
	Present func() []string
	// Speeds is what disks have taken; nil where nobody knows.
	Speeds *speed.Book
	// Refusals are acquire's, for the status.
	Refusals *refusal.Book
	// Told gets each status that is published, also where nobody hears it. It may be nil.
	Told func(bus.Status)
}

// Controller answers the control service of one camera. Its methods may be called concurrently. Run makes it work.
type Controller struct {
	cfg     Config
	looked  chan struct{} // closed when the runs that an earlier acquire left have been taken up
	shown   shown
	changes atomic.Uint64 // of the state
	telling *rate.Limiter // of refused requests

	mu      sync.Mutex // guards what follows
	state   bus.State
	since   time.Time
	reason  string
	session *session
	abort   context.CancelCauseFunc // ends the arming that goes on
	last    *run.Summary
	lastErr error
	settled chan struct{} // closed while no run is there or coming; renewed when one begins
	changed chan struct{} // closed when the state changes, and renewed
	closing bool
	// resuming is set while a run that was left is being taken up: the session is its, once there is one.
	resuming bool
	resumed  bool  // the newest run that was left is this process's own
	left     error // why that run could not go on
	refused  unarmed
	rates    rates
}

// unarmed is the newest arming that failed, of a run whose id the asker chose.
type unarmed struct {
	run frames.RunID
	err error
}

var _ bus.Control = (*Controller)(nil)

// New returns a Controller in the state idle.
func New(cfg Config) *Controller {
	c := &Controller{
		cfg: cfg, looked: make(chan struct{}), state: bus.StateIdle, since: time.Now(), settled: make(chan struct{}), changed: make(chan struct{}),
		shown: shown{limit: rate.NewLimiter(looksPerSecond, looksPerSecond)}, telling: rate.NewLimiter(1, 5),
	}
	close(c.settled)
	return c
}

// Run publishes the camera's status until ctx ends, first taking up runs that a killed acquire left. When ctx ends it
// stops the run that goes on and returns after its drain; hard, when closed, cuts that short. It is called once.
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
	c.end()
	settled := c.settled
	c.mu.Unlock()
	select {
	case <-settled:
	case <-hard:
		c.mu.Lock()
		if c.session != nil {
			c.session.giveUp()
		}
		c.mu.Unlock()
		<-settled
	}
	return nil
}

// end asks what goes on to end: an arming is given up, of an armed run nothing stays, one that captures drains. c.mu
// is held.
func (c *Controller) end() {
	switch s := c.session; {
	case c.state == bus.StateArming:
		c.abort(ErrDisarmed)
	case s == nil:
	case c.state == bus.StateWaiting:
		c.session = nil
		s.discard()
		c.settle(bus.StateIdle, "disarmed")
	default:
		s.stop(run.EndedStop)
	}
}

// enter changes the state. c.mu is held.
func (c *Controller) enter(s bus.State, reason string) {
	c.changes.Add(1)
	if c.state != s {
		c.state, c.since = s, time.Now()
		close(c.changed)
		c.changed = make(chan struct{})
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

// begin enters the state arming, unless there is a run. The context that it returns ends with ctx, and when the arming
// is given up.
func (c *Controller) begin(ctx context.Context) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil, exit.Errorf(exit.Unavailable, "%w: acquire is ending", ErrState)
	}
	if !c.idle() {
		return nil, c.busy()
	}
	c.enter(bus.StateArming, "")
	c.settled = make(chan struct{})
	ctx, c.abort = context.WithCancelCause(ctx)
	return ctx, nil
}

// idle reports whether there is no run. c.mu is held.
func (c *Controller) idle() bool { return c.state == bus.StateIdle || c.state == bus.StateFault }

// busy is the refusal of a second run. c.mu is held.
func (c *Controller) busy() error {
	return exit.Errorf(exit.Usage, "%w: camera %s is %s%s; one run at a time", ErrState, c.cfg.Camera, c.state, c.runName())
}

// ready waits until the runs that an earlier acquire left have been taken up: a new one comes after them.
func (c *Controller) ready(ctx context.Context) error {
	select {
	case <-c.looked:
		return nil
	case <-ctx.Done():
		return exit.Errorf(exit.Unavailable, "%w: a run from before is still being drained", ErrState)
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
	c.abort(nil) // frees it
	close(c.settled)
}

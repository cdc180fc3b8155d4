package analysis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/occupancy"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	warnEvery = time.Second
	// announceTime is how long the answer to Armed waits for the combiner to know this member.
	announceTime = 2 * time.Second
)

// Analyzer is a member of a camera's analyze group.
type Analyzer struct {
	cfg   Config
	watch *occupancy.Stopwatch
	drain chan struct{}
	once  sync.Once

	mu      sync.Mutex // guards what follows
	session *session   // of the present run, or of the last one
}

// New returns an Analyzer; Run makes it work. The error wraps ErrConfig.
func New(cfg Config) (*Analyzer, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Analyzer{cfg: cfg, watch: occupancy.New(), drain: make(chan struct{})}, nil
}

// Drain has Run return once the present run is over; without one, at once. It may be called more than once.
func (a *Analyzer) Drain() { a.once.Do(func() { close(a.drain) }) }

// Run works on the camera's runs, one after the other, until Drain or until ctx ends, whose error it then
// returns. An analyser that ctx ends leaves the frames that it has not released to other members.
func (a *Analyzer) Run(ctx context.Context, r link.Receiver) error {
	stop, err := a.cfg.Messenger.Serve(combineSubject(a.cfg.Camera, a.cfg.Member), a.answer)
	if err != nil {
		return err
	}
	defer stop()
	idle, cancel := context.WithCancel(ctx)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		select {
		case <-a.drain:
			cancel()
		case <-idle.Done():
		}
	}()
	defer func() { <-drained }()
	defer cancel()

	w := &worker{analyzer: a, receiver: r}
	err = w.run(ctx, idle)
	if w.session != nil {
		w.session.close()
		w.wait(ctx)
	}
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// answer answers a batch that another member sent.
func (a *Analyzer) answer(body []byte) []byte {
	if s := a.current(); s != nil {
		return s.answer(body)
	}
	return append([]byte{answerNotHere}, ErrNotCombining.Error()...)
}

func (a *Analyzer) current() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

func (a *Analyzer) set(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = s
}

// Health is what heartbeats say: the shares of the time since the last call, and the run's counts.
func (a *Analyzer) Health() link.Health {
	shares := a.watch.Shares()
	h := link.Health{Busy: shares.Busy, Starved: shares.Starved, Blocked: shares.Blocked}
	if s := a.current(); s != nil {
		s.mu.Lock()
		h.Frames, h.Bytes, h.Skipped = s.counts.frames, s.counts.bytes, s.counts.skipped
		s.mu.Unlock()
	}
	return h
}

// worker is what Run knows: the session and whether its run is over.
type worker struct {
	analyzer *Analyzer
	receiver link.Receiver
	session  *session // nil before the first run and after a refused one
	over     bool     // the session's run is closed: it only sends what is left
}

// run works until a context ends: idle ends also when there is to be no other run.
func (w *worker) run(ctx, idle context.Context) error {
	watch := w.analyzer.watch
	for {
		waiting := ctx
		if w.session == nil || w.over {
			waiting = idle
		}
		watch.Switch(occupancy.Starved)
		d, err := w.receiver.Next(waiting)
		if err != nil {
			return err
		}
		watch.Switch(occupancy.Busy)
		w.handle(ctx, d)
	}
}

func (w *worker) handle(ctx context.Context, d link.Delivery) {
	switch d.Kind {
	case frames.KindArmed:
		w.receiver.Report(frames.KindReady, w.arm(ctx, d.Armed))
	case frames.KindFrames:
		if w.session == nil || w.over {
			w.receiver.Release(d.Frames, frames.Absent)
			return
		}
		w.session.take(d.Frames)
	case frames.KindEnd:
		if w.session != nil && d.End.Run == w.session.armed.Spec.Run {
			w.session.end(d.End.Captured)
		}
	case frames.KindClosed:
		if w.session != nil && !w.over && d.Closed.Run == w.session.armed.Spec.Run {
			w.session.close()
			w.over = true
		}
	}
}

// arm prepares for a run, or for another combiner of the present one.
func (w *worker) arm(ctx context.Context, armed *link.Armed) link.Ready {
	a := w.analyzer
	if armed.Spec.Camera != a.cfg.Camera {
		return link.Ready{Run: armed.Spec.Run, Error: "the run is of camera " + armed.Spec.Camera + ", this analyser is of " + a.cfg.Camera}
	}
	if w.session == nil || w.over || w.session.armed.Spec.Run != armed.Spec.Run {
		w.leave(ctx)
		first := *armed
		first.Primary = ""
		s, err := newSession(ctx, a.cfg, first, w.receiver)
		if err != nil {
			return refuse(armed, err)
		}
		w.session, w.over = s, false
		a.set(s)
	}
	announced, err := w.session.address(armed.Primary)
	if err != nil {
		w.leave(ctx)
		return refuse(armed, err)
	}
	w.session.log.Info("ready", "policy", armed.Policy, "combiner", armed.Primary, "bytes", w.session.bytes())
	// The combiner should know its members before the first frame: it waits for them at the end.
	defer a.watch.Switch(a.watch.Switch(occupancy.Blocked))
	timer := time.NewTimer(announceTime)
	defer timer.Stop()
	select {
	case <-announced:
	case <-timer.C:
		w.session.log.Warn("the combiner does not answer yet", "combiner", armed.Primary)
	case <-ctx.Done():
	}
	return link.Ready{Run: armed.Spec.Run}
}

// leave ends the session, if there is one, and waits for what is left of it.
func (w *worker) leave(ctx context.Context) {
	if w.session == nil {
		return
	}
	w.session.close()
	w.wait(ctx)
	w.analyzer.set(nil)
	w.session, w.over = nil, false
}

// wait waits for the session for no longer than its last steps may take.
func (w *worker) wait(ctx context.Context) {
	cfg := w.analyzer.cfg
	defer w.analyzer.watch.Switch(w.analyzer.watch.Switch(occupancy.Blocked))
	ctx, cancel := context.WithTimeout(ctx, cfg.Quiet+cfg.AckWait+sendTime)
	defer cancel()
	w.session.wait(ctx)
}

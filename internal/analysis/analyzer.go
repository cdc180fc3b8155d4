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
	// leaveTime is how long an analyser that leaves in mid-run sends what it has.
	leaveTime = 5 * time.Second
	// shortestInterval is what the shares of time are at least measured over, whoever asks.
	shortestInterval = 500 * time.Millisecond
)

// Analyzer is a member of a camera's analyze group.
type Analyzer struct {
	cfg   Config
	watch *occupancy.Stopwatch
	// effort is what the watch shows of loop and workers.
	effort *effort
	// draining and leaving are closed by Drain and Leave.
	draining, leaving chan struct{}
	drain, leave      sync.Once

	mu      sync.Mutex // guards what follows
	session *session   // of the present run, or of the last one
	over    bool       // that run is over
	shares  occupancy.Shares
	asked   time.Time // when shares were taken
}

// New returns an Analyzer; Run makes it work. The error wraps ErrConfig.
func New(cfg Config) (*Analyzer, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	watch := occupancy.New()
	return &Analyzer{cfg: cfg, watch: watch, effort: &effort{watch: watch}, draining: make(chan struct{}), leaving: make(chan struct{})}, nil
}

// Workers is how many spatial spectra it computes at a time.
func (a *Analyzer) Workers() int { return a.cfg.Workers }

// Drain has Run return nil once the present run is over; without one, at once. It may be called more than once.
func (a *Analyzer) Drain() { a.drain.Do(func() { close(a.draining) }) }

// Leave has Run return nil as soon as it has sent what it has: the run's other frames go to other members. It
// may be called more than once.
func (a *Analyzer) Leave() { a.leave.Do(func() { close(a.leaving) }) }

// Run works on the camera's runs, one after the other, until Drain or Leave, or until ctx ends, whose error it
// then returns at once. It is called once.
func (a *Analyzer) Run(ctx context.Context, r link.Receiver) error {
	stop, err := a.cfg.Messenger.Serve(combineSubject(a.cfg.Camera, a.cfg.Member), a.answer)
	if err != nil {
		return err
	}
	defer stop()
	taking, stopTaking := context.WithCancel(ctx)
	idle, stopIdle := context.WithCancel(taking)
	defer stopIdle()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stopTaking()
	watching.Go(func() {
		draining := a.draining
		for {
			select {
			case <-draining:
				stopIdle()
				draining = nil
			case <-a.leaving:
				stopTaking()
				return
			case <-taking.Done():
				return
			}
		}
	})

	w := &worker{analyzer: a, receiver: r}
	err = w.run(ctx, taking, idle)
	w.finish(ctx)
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// answer answers a batch that another member sent.
func (a *Analyzer) answer(body []byte) []byte {
	if s := a.current(); s != nil {
		return s.answer(body, false)
	}
	return append([]byte{answerNotHere}, ErrNotCombining.Error()...)
}

func (a *Analyzer) current() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

func (a *Analyzer) set(s *session, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.over = s, over
}

// Health is what heartbeats and the status say: the shares of the last interval's time, and the run's counts.
func (a *Analyzer) Health() link.Health {
	a.mu.Lock()
	if now := time.Now(); now.Sub(a.asked) >= shortestInterval {
		a.shares, a.asked = a.watch.Shares(), now
	}
	h := link.Health{Busy: a.shares.Busy, Starved: a.shares.Starved, Blocked: a.shares.Blocked}
	a.mu.Unlock()
	if s := a.current(); s != nil {
		s.mu.Lock()
		h.Frames, h.Bytes, h.Skipped = s.counts.frames, s.counts.bytes, s.counts.skipped
		s.mu.Unlock()
	}
	return h
}

// Present is the id of the run that is worked on, zero where there is none.
func (a *Analyzer) Present() frames.RunID {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session == nil || a.over {
		return frames.RunID{}
	}
	return a.session.armed.Spec.Run
}

// worker is what Run knows: the session and whether its run is over.
type worker struct {
	analyzer *Analyzer
	receiver link.Receiver
	session  *session // nil before the first run and after a refused one
	over     bool     // the session's run is closed: it only sends what is left
	left     bool     // that run goes on without this member
}

// run works until taking ends or, between runs, idle. ctx is for what is done with a delivery.
func (w *worker) run(ctx, taking, idle context.Context) error {
	effort := w.analyzer.effort
	for {
		waiting := taking
		if w.session == nil || w.over {
			waiting = idle
		}
		effort.wait(true)
		d, err := w.receiver.Next(waiting)
		effort.wait(false)
		if err != nil {
			return err
		}
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
			if w.left = d.Closed.Left; w.left {
				w.session.abandon()
			} else {
				w.session.close()
			}
			w.over = true
			w.analyzer.set(w.session, true)
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
		s, err := newSession(ctx, a.cfg, first, w.receiver, a.effort)
		if err != nil {
			return refuse(armed, err)
		}
		w.session, w.over = s, false
		a.set(s, false)
	}
	announced, err := w.session.address(armed.Primary) //nolint:contextcheck // a combiner lives as long as the session
	if err != nil {
		w.leave(ctx)
		return refuse(armed, err)
	}
	stated := w.session.bytes()
	if a.cfg.Stated != nil {
		a.cfg.Stated(stated)
	}
	w.session.log.Info("ready", "policy", armed.Policy, "combiner", armed.Primary, "bytes", stated)
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
	return link.Ready{Run: armed.Spec.Run, BufferBytes: stated}
}

// leave ends the session, if there is one, and waits for what is left of it.
func (w *worker) leave(ctx context.Context) {
	if w.session == nil {
		return
	}
	w.session.close()
	w.wait(ctx)
	w.analyzer.set(nil, false)
	w.session, w.over = nil, false
}

// finish ends the last session. Of a run that goes on without this member there is no final result.
func (w *worker) finish(ctx context.Context) {
	switch {
	case w.session == nil:
	case w.over && !w.left || w.session.ended:
		w.session.close()
		w.wait(ctx)
	default:
		w.session.abandon()
		ctx, cancel := context.WithTimeout(ctx, leaveTime)
		defer cancel()
		w.session.wait(ctx)
	}
}

// wait waits for the session for no longer than its last steps may take.
func (w *worker) wait(ctx context.Context) {
	cfg := w.analyzer.cfg
	defer w.analyzer.watch.Switch(w.analyzer.watch.Switch(occupancy.Blocked))
	ctx, cancel := context.WithTimeout(ctx, cfg.Quiet+cfg.AckWait+sendTime)
	defer cancel()
	w.session.wait(ctx)
}

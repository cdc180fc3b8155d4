package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// settleTime is how long given-up frames may take into the ledger.
	settleTime = 10 * time.Second
	// finishTime is how long the primary writer may take to complete the store.
	finishTime = 60 * time.Second
)

// run captures, drains and completes the run. The error is set when the run could not be completed: close then leaves
// its slab for the next start.
func (s *session) run() (run.Summary, error) {
	defer s.rememberOften()()
	endedBy := s.earlierEnd()
	if s.cam != nil {
		s.c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventStarted, Text: "started"})
		endedBy = s.captureAll()
	}
	s.noteEnd(endedBy)
	s.c.set(s, bus.StateDraining, "ended by "+endedBy)
	s.c.cfg.Herald.Event(s.spec.Run, bus.Event{
		Kind: bus.EventStopping, Text: fmt.Sprintf("capture ended by %s at frame %d", endedBy, s.slab.Captured()), Seq: s.slab.Captured(),
	})
	s.c.cfg.Dispatcher.End()
	endedBy, err := s.drain(endedBy)
	s.noteEnd(endedBy)
	summary := s.summary(endedBy)
	if err == nil {
		s.c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventDrained, Text: "every frame is durable or ledgered", Seq: s.slab.Captured()})
		s.flush()
		s.awaitResults()
		summary, err = s.complete(summary)
	}
	if err == nil {
		s.noteSpeed(summary)
	}
	s.c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventFinished, Text: "finished: ended by " + summary.EndedBy, Summary: &summary})
	s.flush()
	return summary, err
}

// earlierEnd is what ended the capture of a run that is only drained.
func (s *session) earlierEnd() string {
	switch by := s.slab.EndedBy(); {
	case by != "":
		return by
	case s.spec.Frames > 0 && s.slab.Captured() >= s.spec.Frames:
		return run.EndedFrames
	default:
		return run.EndedInterrupted
	}
}

// flush waits a while until all events are published.
func (s *session) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	s.c.cfg.Herald.Flush(ctx)
}

// awaitResults waits a while until the analysers' last results are out, so that they are in the store.
func (s *session) awaitResults() {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	s.c.cfg.Dispatcher.AwaitResults(ctx)
}

// complete has the primary writer complete the store.
func (s *session) complete(summary run.Summary) (run.Summary, error) {
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	return s.c.cfg.Dispatcher.Finish(ctx, summary)
}

// captureAll runs the camera until it ends, or until no required member can take its frames.
func (s *session) captureAll() string {
	d := s.c.cfg.Dispatcher
	hopeless, full, broken := d.Hopeless(), d.DiskFull(), d.DiskBroken()
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-hopeless:
			s.stop(s.broken())
		case <-full:
			s.stop(run.EndedDiskFull)
		case <-broken:
			s.stop(run.EndedWriter)
		case <-done:
		}
	}()
	endedBy, err := s.capture()
	close(done)
	<-watched
	if err != nil {
		s.warning(err.Error())
	}
	if err := s.closeCamera(); err != nil {
		s.warning(err.Error())
	}
	return endedBy
}

// broken is the word for a run that its members cannot take.
func (s *session) broken() string {
	if _, full := s.c.cfg.Dispatcher.Failure(); full {
		return run.EndedDiskFull
	}
	return run.EndedWriter
}

// drain waits until every frame is durable or ledgered. Its deadline moves as long as frames do.
func (s *session) drain(endedBy string) (string, error) {
	d := s.c.cfg.Dispatcher
	drained, hopeless, broken := d.Drained(), d.Hopeless(), d.DiskBroken()
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	still := newStandstill(every)
	for {
		select {
		case <-drained:
			if _, full := d.Failure(); full {
				endedBy = run.EndedDiskFull
			}
			return endedBy, nil
		case <-hopeless:
			reason, _ := d.Failure()
			s.warning(reason)
			return s.broken(), fmt.Errorf("%w: %s", ErrNoWriter, reason)
		case <-s.quit:
			return run.EndedHard, s.surrender(drained, frames.Stopped)
		case <-broken:
			reason, _ := d.Failure()
			s.warning("the writers' disk fails again and again, what was not durable is given up: " + reason)
			return s.broken(), s.surrender(drained, frames.Unwritten)
		case <-tick.C:
			if still.look(progress(d.Account()), time.Now()) > s.opts.DrainTimeout {
				s.warning(fmt.Sprintf("nothing moved for %s while draining: the rest was given up", s.opts.DrainTimeout))
				return run.EndedDeadline, s.surrender(drained, frames.Stopped)
			}
		}
	}
}

// progress is a number that changes when frames become durable, are ledgered or are sealed.
func progress(a dispatch.Account) uint64 {
	n := a.Durable + a.ReadableUntil
	for _, v := range a.Released {
		n += v
	}
	for _, v := range a.Lost {
		n += v
	}
	return n - a.InFlight
}

// surrender ledgers what is not durable, and waits for the ledger as long as it moves.
func (s *session) surrender(drained <-chan struct{}, reason frames.State) error {
	d := s.c.cfg.Dispatcher
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	still := newStandstill(every)
	for given := false; ; {
		if !given {
			err := d.GiveUp(reason)
			if given = err == nil; err != nil && !errors.Is(err, slab.ErrLossTable) {
				return err
			}
		}
		select {
		case <-drained:
			return nil
		case <-tick.C:
			if still.look(progress(d.Account()), time.Now()) > settleTime {
				return errors.New("the writers did not ledger what was given up: `sluice recover` completes the store")
			}
		}
	}
}

// summary is the account of the run as acquire knows it.
func (s *session) summary(endedBy string) run.Summary {
	a := s.c.cfg.Dispatcher.Account()
	sum := run.Summary{
		V: 1, Run: s.spec.Run, Store: s.storeName(), Camera: s.spec.Camera, Source: s.spec.Source,
		Shape: append([]int{int(a.Captured)}, s.spec.Geometry.Shape()...), Dtype: s.spec.Geometry.Dtype,
		Captured: a.Captured, Written: a.Durable, LostByReason: map[string]uint64{},
		Analyzed: a.Released["analyze"], Skipped: a.Skipped, Bytes: a.Durable * uint64(s.spec.Geometry.FrameBytes()),
		BudgetBytes: int64(s.slots) * int64(s.slab.Stride()), PeakBudgetBytes: s.peak(),
		ThrottledSeconds: s.throttledTime().Seconds(), PausedSeconds: s.pausedTime().Seconds(),
		Restarts: a.Restarts + max(int(s.slab.Session())-1, s.c.cfg.Restarts), EndedBy: endedBy, Warnings: s.warned(),
		Latency: s.c.cfg.Dispatcher.Latency(),
	}
	if a.Mixed > 0 {
		sum.Warnings = append(sum.Warnings, fmt.Sprintf("%d lost frames are named under the reason of those before them: too many ranges waited for the ledger", a.Mixed))
	}
	for reason, n := range a.Lost {
		sum.LostByReason[reason.String()] = n
		sum.Lost += n
	}
	if first, _, _, _ := s.slab.Last(); first > 0 && a.LastDurableNS > first {
		sum.Seconds = time.Duration(a.LastDurableNS - first).Seconds()
	}
	if a.LastDurableNS > 0 {
		sum.DrainSeconds = max(0, time.Duration(a.LastDurableNS-s.slab.Tally(slab.CaptureEndNS)).Seconds())
	}
	return sum
}

// peak is the most bytes of the slab that were in use, as the budgets count them.
func (s *session) peak() int64 {
	n := s.budget.Gauge().Peak
	if s.spare > 0 {
		n += s.reserve.Gauge().Peak
	}
	return max(n, s.before.peak)
}

// close ends the run for the members, and frees its memory unless there is something left in it.
func (s *session) close(err error) {
	s.c.cfg.Dispatcher.CloseRun()
	s.c.cfg.Herald.End(s.spec.Run)
	s.end(nil)
	if err == nil {
		s.slab.SetPhase(slab.Done)
		if e := s.slab.Remove(); e != nil {
			s.c.cfg.Logger.Warn("remove the slab", "error", e)
		}
	}
	if e := s.slab.Close(); e != nil {
		s.c.cfg.Logger.Warn("close the slab", "error", e)
	}
}

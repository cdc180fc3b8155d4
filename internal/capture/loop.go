package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// loop moves frames from the camera into the slab. It is one goroutine's.
type loop struct {
	*session
	unwrap      *camera.Unwrapper
	stride      int64
	mask        uint32
	checksummer camera.Checksummer // where frames' checksums are of use and the camera makes them
	seq         uint64             // of the next frame
	until       uint64             // the frame that is not produced any more; 0 where the run ends otherwise
	// idOffset and nsOffset continue frame ids and device times where an earlier acquire left them.
	idOffset uint64
	nsOffset int64
	first    bool // the next frame is the first one
	// holding is set while a camera that cannot stop is treated as paused.
	holding bool
	stall   time.Duration
	watch   *watchdog
}

// capture runs the camera to its end, and returns what ended it: one of run's words.
func (s *session) capture() (string, error) {
	unwrap, err := camera.NewUnwrapper(s.info)
	if err != nil {
		return run.EndedCamera, err
	}
	l := &loop{
		session: s, unwrap: unwrap, stride: int64(s.slab.Stride()), mask: s.c.cfg.Dispatcher.Mask(),
		seq: s.slab.Captured(), until: uint64(s.opts.Frames), first: true, stall: stallTime(s.opts.StallAfter, s.info.FPS),
	}
	if s.spec.Codec == "none" { // the store's checksums are of chunks, which are the pixels then
		l.checksummer, _ = s.cam.(camera.Checksummer)
	}
	l.watch = newWatchdog(l.stall, func() { s.end(ErrStalled) })
	l.watch.start()
	defer l.watch.stop()
	if left := s.opts.Duration; left > 0 {
		if first, _, _, _ := s.slab.Last(); s.resumed && first > 0 {
			left -= time.Duration(s.clock.Now() - first)
		}
		defer time.AfterFunc(max(left, 0), func() { s.stop(run.EndedDuration) }).Stop()
	}
	if err := s.cam.Start(s.ctx); err != nil {
		return l.ended(err)
	}
	l.watch.stop()
	for {
		if l.until > 0 && l.seq >= l.until {
			l.resumed()
			return run.EndedFrames, nil
		}
		if err := l.step(); err != nil {
			l.resumed()
			return l.ended(err)
		}
	}
}

// stallTime is how long a camera may send nothing.
func stallTime(asked time.Duration, fps float64) time.Duration {
	const least, periods = 5 * time.Second, 10
	switch {
	case asked > 0:
		return asked
	case fps > 0:
		return max(least, time.Duration(periods/fps*float64(time.Second)))
	}
	return least
}

// ended is the word for what ended the capture; the error says more where a word is not enough.
func (l *loop) ended(err error) (string, error) {
	if errors.Is(err, io.EOF) {
		return run.EndedSource, nil
	}
	var e ended
	cause := context.Cause(l.ctx)
	switch {
	case errors.As(err, &e):
		return string(e), nil
	case cause == nil:
	case errors.As(cause, &e):
		return string(e), nil
	case errors.Is(cause, ErrStalled):
		text := fmt.Sprintf("the camera has sent nothing for %s after frame %d", l.stall, l.seq)
		l.c.cfg.Herald.Event(l.spec.Run, bus.Event{Kind: bus.EventCameraStalled, Text: text, Seq: l.seq})
		return run.EndedStalled, fmt.Errorf("%w: %s", ErrStalled, text)
	}
	l.c.cfg.Herald.Event(l.spec.Run, bus.Event{Kind: bus.EventCameraFailed, Text: err.Error(), Seq: l.seq})
	return run.EndedCamera, err
}

// step takes one frame, or waits until there may be one.
func (l *loop) step() error {
	if on, changed := l.asked.get(); on && l.info.CanPause {
		return l.pause("asked to", func(ctx context.Context) error {
			select {
			case <-changed:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	// A camera that can stop is asked for a frame only when there is room for it.
	room := false
	if l.info.CanPause {
		err := l.budget.TryAcquire(l.stride)
		switch {
		case err == nil:
			room = true
		case !errors.Is(err, backpressure.ErrFull):
			return fmt.Errorf("take a slot from the budget: %w", err)
		case l.onFull == backpressure.Fail:
			return ended(run.EndedFull)
		case l.onFull == backpressure.Pause:
			return l.pause("the budget is full", l.budget.WaitOpen)
		}
	}
	kept, err := l.grab(room)
	if room && !kept {
		err = errors.Join(err, l.budget.Release(l.stride))
	}
	return err
}

// grab takes the camera's next frame, and reports whether it kept the room that it had for it.
func (l *loop) grab(room bool) (kept bool, err error) {
	l.watch.start()
	g, err := l.cam.Grab(l.ctx)
	l.watch.stop()
	if err != nil {
		return false, err
	}
	st := l.unwrap.Next(g.FrameID, g.DeviceNS)
	if st.Anomaly == camera.Repeated {
		return false, nil
	}
	hostNS := l.clock.At(g.Arrived)
	if l.first && l.session.resumed {
		l.join(g, hostNS, &st)
	}
	l.first = false
	h := frames.Header{
		Run: l.spec.Run, FrameID: st.FrameID + l.idOffset, DeviceNS: g.DeviceNS + l.nsOffset, HostNS: hostNS, Geometry: l.spec.Geometry,
	}
	if st.Missed > 0 {
		reason := frames.Missed
		if l.holding {
			reason = frames.Paused
		}
		n := st.Missed
		if l.until > 0 {
			n = min(n, l.until-l.seq)
		}
		if err := l.lost(n, h.FrameID-st.Missed, reason, frames.AtCamera); err != nil || l.until > 0 && l.seq >= l.until {
			return false, err
		}
	}
	h.Seq = l.seq
	if g.Incomplete {
		return false, l.lost(1, h.FrameID, frames.Incomplete, frames.AtCamera)
	}
	if !room {
		reason, why := l.admit()
		if reason != 0 {
			return false, errors.Join(why, l.lost(1, h.FrameID, reason, frames.AtAcquire))
		}
		if why != nil {
			return false, why
		}
	}
	return true, l.keep(h)
}

// admit takes room for a frame that a camera which cannot stop has made, or says why it is lost. This is the policy
// for such cameras: pause loses everything until the budget is open again, drop the frames that do not fit.
func (l *loop) admit() (frames.State, error) {
	asked, _ := l.asked.get()
	asked = asked && !l.info.CanPause // one that can is paused before its next frame
	if asked || l.holding {
		if asked || l.budget.Gauge().State != backpressure.Open {
			l.hold("the camera cannot stop")
			return frames.Paused, nil
		}
		l.resumed()
	}
	if l.c.cfg.Dispatcher.Crammed() {
		return frames.Dropped, nil
	}
	switch err := l.budget.TryAcquire(l.stride); {
	case err == nil:
		return 0, nil
	case !errors.Is(err, backpressure.ErrFull):
		return 0, fmt.Errorf("take a slot from the budget: %w", err)
	}
	switch l.onFull {
	case backpressure.Fail:
		return frames.Dropped, ended(run.EndedFull)
	case backpressure.Pause:
		l.hold("the budget is full")
		return frames.Paused, nil
	default:
		return frames.Dropped, nil
	}
}

// keep brings a frame's pixels into a slot, for which there is room in the budget, and offers it.
func (l *loop) keep(h frames.Header) error {
	slot, ok := l.slab.Take()
	if !ok { // only when the groups' policies changed over a restart with a full slab: the reserve has no slots then
		l.c.cfg.Logger.Error("the budget has room and the slab has not", "seq", h.Seq)
		return errors.Join(l.lost(1, h.FrameID, frames.Dropped, frames.AtAcquire), l.budget.Release(l.stride))
	}
	if err := l.retrieve(l.slab.Pixels(slot), &h); err != nil {
		l.slab.Discard(slot)
		lost := l.lost(1, h.FrameID, frames.Incomplete, frames.AtCamera)
		return errors.Join(fmt.Errorf("retrieve frame %d: %w", h.Seq, err), lost, l.budget.Release(l.stride))
	}
	rec := l.slab.Commit(slot, h, l.mask)
	l.advance(1)
	l.c.cfg.Dispatcher.Offer(slot, rec)
	return nil
}

// retrieve writes the pixels of the frame grabbed last into dst, and their checksum into h where the camera makes it.
func (l *loop) retrieve(dst []byte, h *frames.Header) (err error) {
	if l.checksummer != nil {
		h.Checksum, err = l.checksummer.RetrieveChecksum(dst)
		return err
	}
	return l.cam.Retrieve(dst)
}

// join has the ids and times of a resumed run go on from those of the earlier acquire; g is its first frame here, which
// arrived at hostNS.
func (l *loop) join(g camera.Grabbed, hostNS int64, st *camera.Step) {
	_, _, frameID, deviceNS := l.slab.Last()
	if _, ok := l.cam.(camera.Seeker); ok && l.info.IDBits > 0 {
		// It was told which frame to begin with, so that its first id tells of frames missed before it.
		st.Missed = ahead(st.FrameID, frameID+1, l.info)
	}
	if st.FrameID <= frameID {
		l.idOffset = frameID + 1 + st.Missed - st.FrameID
	}
	if g.DeviceNS <= deviceNS { // its clock has begun anew
		l.nsOffset = deviceNS + (hostNS - l.lastNS) - g.DeviceNS
	}
}

// ahead is how far a device's id is ahead of the expected one, on the ids' cycle.
func ahead(id, want uint64, info camera.Info) uint64 {
	if info.IDBits == 64 {
		return id - min(want, id)
	}
	cycle := uint64(1) << info.IDBits
	if info.IDSkipsZero {
		cycle--
	}
	return (id%cycle + cycle - want%cycle) % cycle
}

// lost ledgers n frames from the next seq on. After an error the run ends: the rest of the range is not part of it.
func (l *loop) lost(n, frameID uint64, reason frames.State, stage frames.Stage) error {
	if err := l.lose(l.seq, n, frameID, reason, stage); err != nil {
		return err
	}
	l.advance(n)
	return nil
}

// advance moves on by n frames.
func (l *loop) advance(n uint64) {
	l.seq += n
	l.next.Store(l.seq)
}

// lose ledgers n frames from seq on. While too many ranges wait for their ledger lines the camera waits, unless the
// capture is to end: the error is the reason then.
func (s *session) lose(seq, n, frameID uint64, reason frames.State, stage frames.Stage) error {
	now := s.clock.Now()
	loss := frames.Loss{
		Seq: seq, Count: n, FirstFrameID: frameID, LastFrameID: frameID + n - 1, FirstNS: now, LastNS: now, Reason: reason, Stage: stage,
	}
	for {
		rest, err := s.c.cfg.Dispatcher.Lose(loss)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, slab.ErrLossTable):
			return fmt.Errorf("account for lost frames: %w", err)
		}
		loss = rest
		select {
		case <-time.After(10 * time.Millisecond):
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// pause stops a camera that can, until wait returns, and records the interval.
func (l *loop) pause(why string, wait func(context.Context) error) error {
	p, ok := l.cam.(camera.Pauser)
	if !ok {
		return fmt.Errorf("%w: it says that it can pause and has no way to", camera.ErrFailed)
	}
	if err := p.Pause(); err != nil {
		return fmt.Errorf("pause the camera: %w", err)
	}
	l.hold(why)
	waitErr := wait(l.ctx)
	l.unwrap.Resumed()
	l.resumed()
	if waitErr != nil {
		return waitErr
	}
	if err := p.Resume(); err != nil {
		return fmt.Errorf("resume the camera: %w", err)
	}
	return nil
}

// hold begins an interval in which no frames are taken.
func (l *loop) hold(why string) {
	if l.holding {
		return
	}
	l.holding = true
	l.mu.Lock()
	l.since = time.Now()
	l.mu.Unlock()
	l.c.set(l.session, bus.StatePaused, why)
	l.c.cfg.Herald.Event(l.spec.Run, bus.Event{Kind: bus.EventPaused, Text: "paused at frame " + fmt.Sprint(l.seq) + ": " + why, Seq: l.seq})
}

// resumed ends the interval that hold began, if there is one.
func (l *loop) resumed() {
	if !l.holding {
		return
	}
	l.holding = false
	l.mu.Lock()
	away := time.Since(l.since)
	l.paused, l.since = l.paused+away, time.Time{}
	l.mu.Unlock()
	l.remember()
	l.c.set(l.session, bus.StateRunning, "")
	l.c.cfg.Herald.Event(l.spec.Run, bus.Event{
		Kind: bus.EventResumed, Text: fmt.Sprintf("resumed at frame %d after %s", l.seq, away.Round(time.Millisecond)), Seq: l.seq, PausedNS: away.Nanoseconds(),
	})
}

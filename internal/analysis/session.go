package analysis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// session is the work on one run. Its methods are called by the analyser's loop, but for those that say
// otherwise.
type session struct {
	cfg      Config
	armed    link.Armed
	receiver link.Receiver
	log      *slog.Logger
	tiles    *spectrum.Tiles
	means    []float64
	imager   *imager
	box      *outbox
	sender   *sender
	cancel   context.CancelFunc
	ctx      context.Context // the life of the session's goroutines
	work     sync.WaitGroup
	ended    bool // the camera's last frame was offered
	captured uint64

	mu       sync.Mutex // guards what follows
	seen     *seen
	combiner *combiner          // while this member is the combiner
	halt     context.CancelFunc // ends it
	counts   counts
}

// counts are what a member has done in the run.
type counts struct {
	frames, bytes, skipped uint64
	given                  uint64 // frames, done or not
	newest                 uint64 // seq
}

// newSession makes the plans for a run. The errors are the configuration's or the geometry's.
func newSession(ctx context.Context, cfg Config, a link.Armed, r link.Receiver, e *effort) (*session, error) {
	log := cfg.Log.With("run", a.Spec.Run.Short())
	tiles, err := spectrum.NewTiles(a.Spec.Geometry, cfg.Rows, cfg.Cols)
	if err != nil {
		return nil, err
	}
	rows, cols := tiles.Grid()
	s := &session{
		cfg: cfg, armed: a, receiver: r, log: log, tiles: tiles, means: make([]float64, tiles.Values()), seen: newSeen(),
		box: newOutbox(Batch{Run: a.Spec.Run, Member: cfg.Member, Rows: rows, Cols: cols}, cfg.QueueBytes),
	}
	if s.imager, err = newImager(cfg, a.Spec, a.Clock, tiles, log, e, s.finish); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.sender = &sender{
		camera: cfg.Camera, member: cfg.Member, messenger: cfg.Messenger, box: s.box,
		local: func(body []byte) []byte { return s.answer(body, true) }, release: s.release, done: s.settled, log: log,
	}
	s.sender.warn.Interval = warnEvery
	return s, nil
}

// address makes the named member the combiner: this one, or another that partial results are sent to. It
// returns a channel that is closed when the combiner knows this member.
func (s *session) address(primary string) (<-chan struct{}, error) {
	s.mu.Lock()
	old := s.combiner
	halt := s.halt
	s.mu.Unlock()
	switch {
	case primary == s.cfg.Member && old == nil:
		c, err := newCombiner(s.cfg, s.armed.Spec, s.armed.Clock, s.tiles, s.log)
		if err != nil {
			return nil, err
		}
		c.settled = s.settled
		ctx, cancel := context.WithCancel(s.ctx)
		s.mu.Lock()
		s.combiner, s.halt = c, cancel
		s.mu.Unlock()
		if s.ended {
			c.end(s.captured)
		}
		s.work.Go(func() { c.run(ctx) })
	case primary != s.cfg.Member && old != nil:
		s.mu.Lock()
		s.combiner, s.halt = nil, nil
		s.mu.Unlock()
		halt()
		s.handOver(old)
	}
	first := s.armed.Primary == ""
	if !first && s.armed.Primary == primary {
		return s.sender.present(), nil
	}
	s.armed.Primary = primary
	announced := s.sender.address(primary)
	if first {
		s.work.Go(func() { s.sender.run(s.ctx) })
	}
	return announced, nil
}

// handOver sends what a combiner remembers to its successor.
func (s *session) handOver(old *combiner) {
	old.mu.Lock()
	defer old.mu.Unlock()
	n := 0
	old.series.Each(func(x spectrum.Sample) bool {
		n++
		return s.box.add(x, nil)
	})
	s.log.Info("another member combines from now on", "samples handed over", n)
}

// answer merges an encoded batch, this member's own or another's, and returns the answer to it. It may be called from any
// goroutine.
func (s *session) answer(body []byte, own bool) []byte {
	b, err := DecodeBatch(body)
	if err != nil {
		s.cfg.Refusals.Note(refusal.Batch, err)
		return append([]byte{answerRefused}, err.Error()...)
	}
	s.mu.Lock()
	c := s.combiner
	s.mu.Unlock()
	if c == nil || b.Run != s.armed.Spec.Run {
		s.cfg.Refusals.Count(refusal.Stale, 1)
		return append([]byte{answerNotHere}, ErrNotCombining.Error()...)
	}
	return c.merge(b, own)
}

// take works on frames and sees to it that they are released.
func (s *session) take(fs []link.Offered) {
	for i := range fs {
		f := fs[i]
		seq := f.Offer.Seq
		s.mu.Lock()
		inWork, done := s.seen.isInWork(seq), s.seen.isDone(seq)
		s.mu.Unlock()
		switch {
		case inWork: // offered again after acquire was away: its release is under way
		case done:
			s.receiver.Release(fs[i:i+1], frames.Absent)
		default:
			s.analyse(f, i == len(fs)-1)
		}
	}
}

// analyse works on one frame, or has the imager do so; newest says that no newer one is at hand.
func (s *session) analyse(f link.Offered, newest bool) {
	seq := f.Offer.Seq
	s.mu.Lock()
	s.seen.begin(seq)
	s.counts.given++
	s.counts.newest = max(s.counts.newest, seq)
	coverage := SpatialCoverage{Captured: s.counts.newest + 1, Seen: s.counts.given, Skipped: s.counts.skipped}
	s.mu.Unlock()
	if !s.imager.take(f, newest, s.armed.Primary == s.cfg.Member, coverage) {
		s.finish(f, s.means, s.measure(f.Frame))
	}
}

// finish takes the means of a frame, or why there are none, and gives it back. It may be called from any goroutine.
func (s *session) finish(f link.Offered, means []float64, err error) {
	if err != nil {
		switch {
		case errors.Is(err, frames.ErrReclaimed):
		case errors.Is(err, frames.ErrFault):
			s.cfg.Refusals.Note(refusal.Offer, err)
		default:
			s.log.Error("analysing a frame", "seq", f.Offer.Seq, "error", err)
		}
		s.mu.Lock()
		s.counts.skipped++
		s.seen.abandon(f.Offer.Seq)
		s.mu.Unlock()
		s.receiver.Release([]link.Offered{f}, frames.Absent)
		return
	}
	h := f.Frame.Header
	sample := spectrum.Sample{Seq: h.Seq, DeviceNS: h.DeviceNS, HostNS: h.HostNS, Means: means}
	s.mu.Lock()
	s.counts.frames++
	s.counts.bytes += uint64(s.armed.Spec.Geometry.FrameBytes())
	s.mu.Unlock()
	if s.armed.Policy == link.Lossless && s.box.add(sample, &f) {
		return
	}
	if s.armed.Policy != link.Lossless {
		s.box.add(sample, nil)
	}
	s.release([]link.Offered{f})
}

// measure computes a frame's means and checks that the frame was the same all the while.
func (s *session) measure(f *frames.Frame) error {
	pixels, err := f.Pixels()
	if err != nil {
		return err
	}
	if fault := frames.Guard(pixels, func() { err = s.tiles.Means(s.means, pixels) }); fault != nil {
		return fault
	}
	if err != nil {
		return err
	}
	return f.Intact()
}

// release gives frames back that are done with. It may be called from any goroutine.
func (s *session) release(fs []link.Offered) {
	s.mu.Lock()
	for _, f := range fs {
		s.seen.finish(f.Offer.Seq)
	}
	s.mu.Unlock()
	s.receiver.Release(fs, frames.Absent)
}

// end is called when the camera's last frame was offered.
func (s *session) end(captured uint64) {
	s.ended, s.captured = true, captured
	if s.imager != nil {
		s.imager.settle()
	}
	s.mu.Lock()
	c := s.combiner
	s.mu.Unlock()
	if c != nil {
		c.end(captured)
	}
	s.box.end(captured)
}

// settled is called when this member's last partial result is merged, and when its combiner's final result is out: once
// both are so, acquire need not wait for it any more. It may be called from any goroutine.
func (s *session) settled() {
	s.mu.Lock()
	c := s.combiner
	s.mu.Unlock()
	if s.box.finished() && (c == nil || c.finished()) {
		s.receiver.Report(frames.KindFinished, link.Finished{Run: s.armed.Spec.Run})
	}
}

// close is called when the run is over and its pixels go. What is left to send is sent by wait.
func (s *session) close() {
	s.closeImager()
	s.mu.Lock()
	c := s.combiner
	s.mu.Unlock()
	if c != nil {
		c.close()
	}
	s.box.close()
}

// abandon is called instead of close when the run goes on without this member.
func (s *session) abandon() {
	s.closeImager()
	s.mu.Lock()
	halt := s.halt
	s.combiner, s.halt = nil, nil
	s.mu.Unlock()
	if halt != nil {
		halt()
	}
	s.box.close()
}

func (s *session) closeImager() {
	if s.imager != nil {
		s.imager.close()
		s.imager = nil
	}
}

// wait waits until everything is sent and the final result is out, or until ctx ends: the rest is then lost.
func (s *session) wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.cancel)
	s.work.Wait()
	stop()
	s.cancel()
	if n := s.box.lost(); n > 0 {
		s.log.Warn("partial results found no room in the queue for the combiner", "frames", n)
	}
}

// bytes is the memory that the session holds, or may come to hold.
func (s *session) bytes() int64 {
	n := s.tiles.Bytes() + s.cfg.QueueBytes + 8*seenFrames
	if s.imager != nil {
		n += s.imager.bytes()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.combiner != nil {
		n += s.combiner.series.Bytes()
	}
	return n
}

// refuse makes the Ready that refuses a run.
func refuse(a *link.Armed, err error) link.Ready {
	usage := errors.Is(err, ErrConfig) || errors.Is(err, spectrum.ErrConfig)
	return link.Ready{Run: a.Spec.Run, Error: fmt.Sprintf("analysing the run: %v", err), Usage: usage}
}

package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// activeRun is a run from Armed to Closed.
type activeRun struct {
	w    *Writer
	rx   link.Receiver
	spec run.Spec

	ctx    context.Context // ends when the run is given up
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines of the run

	results sync.Mutex // held while a result is being kept

	distrusts atomic.Bool // a checksum that came with a frame was wrong: none is taken

	mu        sync.Mutex // guards what follows
	armed     link.Armed
	store     *store.Store // nil until it is open
	made      bool         // by this writer, in this run
	failed    bool         // nothing more is taken, and acquire knows
	full      bool         // the disk has no room for frames, and acquire knows
	over      bool         // no more results are taken
	workers   map[uint64]*worker
	sealed    map[uint64]uint64 // the epochs of shards that were sealed here
	captured  *uint64           // the final number, when it is known
	finishing bool
	readable  uint64
	direct    bool
	fallback  string
	free      uint64 // bytes of the disk
}

func newRun(ctx context.Context, w *Writer, rx link.Receiver, a link.Armed) *activeRun {
	r := &activeRun{
		w: w, rx: rx, spec: a.Spec, armed: a,
		workers: map[uint64]*worker{}, sealed: map[uint64]uint64{},
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	w.meter.reset(a.Clock)
	return r
}

// start opens the store beside the link: a run may be closed while its store is waited for.
func (r *activeRun) start() {
	r.wg.Go(func() {
		s, usage, err := r.open(r.ctx)
		if err != nil {
			r.mu.Lock()
			r.failed = true
			r.mu.Unlock()
			if r.ctx.Err() == nil {
				r.refuse(err, usage)
			}
			return
		}
		free, err := s.FreeBytes()
		if err != nil {
			r.w.cfg.Logger.Warn("asking for the free space", "error", err)
		}
		r.mu.Lock()
		r.store, r.free = s, free
		r.mu.Unlock()
		r.w.cfg.Logger.Info("store open", "path", s.Path(), "run", r.spec.Run, "buffer_bytes", s.BufferBytes())
		r.wg.Go(func() { r.watchSpace(s) })
		r.ready(s)
	})
}

// rearm answers an Armed for the run that goes on: acquire was away, or the primary is another.
func (r *activeRun) rearm(a link.Armed) {
	r.mu.Lock()
	r.armed = a
	s := r.store
	r.mu.Unlock()
	if s != nil {
		r.ready(s)
	}
}

// order is the latest Armed.
func (r *activeRun) order() link.Armed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.armed
}

// stop ends the run: when it returns nobody reads pixels and nothing is open.
func (r *activeRun) stop() error {
	r.endResults()
	r.cancel()
	r.wg.Wait()
	if r.store == nil {
		return nil
	}
	return r.store.Close()
}

// discard removes the store of a run in which nothing happened. The run goes on to its stop.
func (r *activeRun) discard() {
	r.endResults()
	r.cancel()
	r.wg.Wait()
	if r.store == nil {
		return
	}
	switch gone, err := r.store.Discard(); {
	case err != nil:
		r.w.cfg.Logger.Warn("an empty store is left", "error", err)
	case gone:
		r.w.cfg.Logger.Info("empty store removed", "path", r.store.Path())
	}
}

// maker reports whether this writer has made the run's store.
func (r *activeRun) maker() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made
}

// alive reports whether the run takes frames, or will when its store is open.
func (r *activeRun) alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.failed
}

func (r *activeRun) deliver(d link.Delivery) {
	r.mu.Lock()
	s, failed := r.store, r.failed
	r.mu.Unlock()
	if s == nil || failed {
		r.w.cfg.Logger.Debug("message for a run that takes none", "kind", d.Kind)
		return
	}
	switch d.Kind {
	case frames.KindAssign:
		for _, a := range d.Assign {
			r.assign(s, a)
		}
	case frames.KindFrames:
		for _, f := range d.Frames {
			if f.Frame.Run == r.spec.Run {
				r.worker(s, r.spec.Shard(f.Offer.Seq), f.Offer.Epoch, func(k *worker) { k.frames = append(k.frames, f) })
			}
		}
	case frames.KindLosses:
		for _, l := range d.Losses {
			if r.spec.Shard(l.Seq) != r.spec.Shard(l.End()-1) {
				r.w.cfg.Refusals.Note(refusal.Message, fmt.Errorf("%w: a loss of %d frames from %d spans shards", link.ErrProtocol, l.Count, l.Seq))
				continue
			}
			r.worker(s, r.spec.Shard(l.Seq), l.Epoch, func(k *worker) { k.losses = append(k.losses, l) })
		}
	case frames.KindEvent:
		if err := s.AppendEvent(d.Event); errors.Is(err, store.ErrFrame) {
			r.w.cfg.Refusals.Note(refusal.Message, err)
		} else if err != nil {
			r.w.cfg.Logger.Warn("event not written", "error", err)
		}
	case frames.KindEnd:
		r.end(s, *d.End)
	case frames.KindFinish:
		r.finish(s, *d.Finish)
	default:
		r.w.cfg.Logger.Warn("unexpected message", "kind", d.Kind)
	}
}

// maxWorkers bounds the shards that are open at a time, each with files and memory of its own: four times as many as
// acquire gives to one writer, for those that it hears of too late.
const maxWorkers = 64

// assign makes a worker for a shard. One that works under a lower epoch gives the shard up before.
func (r *activeRun) assign(s *store.Store, a frames.Assignment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.workers[a.Shard]
	switch {
	case k != nil && k.epoch > a.Epoch:
		return
	case k != nil && k.epoch == a.Epoch:
		k.poke()
		return
	case k == nil && r.sealed[a.Shard] == a.Epoch && a.Epoch != 0: // acquire asks again
		r.rx.Seal(a)
		return
	}
	if k == nil && len(r.workers) >= maxWorkers {
		r.w.cfg.Refusals.Note(refusal.Message, fmt.Errorf("%w: shard %d is one more than the %d that a writer takes at a time", link.ErrProtocol, a.Shard, maxWorkers))
		return
	}
	if k != nil {
		k.cancel()
	}
	r.employ(s, a, k)
}

// employ starts a worker after the one before, if any, has ended. The caller holds mu.
func (r *activeRun) employ(s *store.Store, a frames.Assignment, before *worker) *worker {
	k := newWorker(r, s, a)
	r.workers[a.Shard] = k
	r.wg.Go(func() {
		defer close(k.done)
		defer k.cancel()
		if before != nil {
			<-before.done
		}
		k.run()
	})
	return k
}

// worker runs add on the worker of a shard under an epoch and wakes it. A shard that was sealed here gets a worker
// again, which knows the answers. Messages under other epochs are ignored.
func (r *activeRun) worker(s *store.Store, shard, epoch uint64, add func(*worker)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.workers[shard]
	if k == nil && r.sealed[shard] == epoch && epoch != 0 {
		k = r.employ(s, frames.Assignment{Shard: shard, Epoch: epoch}, nil)
	}
	if k == nil || k.epoch != epoch {
		return
	}
	add(k)
	k.poke()
}

// end tells every worker where the run ends.
func (r *activeRun) end(s *store.Store, e link.End) {
	if e.Run != r.spec.Run {
		return
	}
	s.NoteCaptured(e.Captured)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.captured = &e.Captured
	for _, k := range r.workers {
		k.poke()
	}
}

// shardEnd is the first seq that a shard will not have: known is false for a last shard whose end is still open.
func (r *activeRun) shardEnd(shard uint64) (end uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end = (shard + 1) * r.spec.ShardFrames
	if r.captured != nil {
		end = min(end, *r.captured)
	}
	return end, end > shard*r.spec.ShardFrames
}

// finish completes the store, beside the link. Repeats while it works are answered by the one answer.
func (r *activeRun) finish(s *store.Store, f link.Finish) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Run != r.spec.Run || r.finishing {
		return
	}
	r.finishing = true
	r.wg.Go(func() {
		sum, err := s.Finish(r.ctx, f.Summary.Captured, f.Summary)
		r.mu.Lock()
		r.finishing = false
		if err == nil {
			r.readable = sum.Captured
		}
		r.mu.Unlock()
		if r.ctx.Err() != nil {
			return
		}
		out := link.Finished{Run: r.spec.Run, Summary: sum}
		if err != nil {
			r.w.cfg.Logger.Error("the store is not finished", "error", err)
			out.Error = oneLine(err)
		}
		r.rx.Report(frames.KindFinished, out)
	})
}

// fail ends this writer's work on the run, once. After an error of the disk the writer ends as a whole: started again it
// takes its shards under new epochs, with files of its own, copies what is whole in the old ones, and gets from the slab
// what it has not released. After any other error starting again would change nothing: acquire is told.
func (r *activeRun) fail(shard uint64, err error) {
	r.mu.Lock()
	first := !r.failed
	r.failed = true
	r.mu.Unlock()
	if !first || r.ctx.Err() != nil {
		return
	}
	if vfs.IsNotExist(err) {
		r.w.cfg.Logger.Warn("something of the store is missing", "shard", shard, "error", err)
		err = fmt.Errorf("%s: %w", r.store.Path(), ErrGone)
	}
	theDisks := errors.Is(err, syscall.EIO) || errors.Is(err, store.ErrBroken)
	if theDisks && !errors.Is(err, ErrGone) && !errors.Is(err, frames.ErrFault) { // the process's last words are the error
		r.rx.Report(frames.KindFailed, link.Failed{Run: r.spec.Run, Error: oneLine(err), Broken: true, DiskFull: vfs.IsFull(err)})
		r.cancel()
		r.w.end(fmt.Errorf("%w: %w", ErrDisk, err))
		return
	}
	r.w.cfg.Logger.Error("the writer can't go on", "shard", shard, "error", err)
	r.rx.Report(frames.KindFailed, link.Failed{Run: r.spec.Run, Error: oneLine(err), DiskFull: vfs.IsFull(err)})
	r.cancel()
}

// diskFull tells acquire, once, that no more frames have room. The writer's shards stay its own: what is durable is
// sealed, what comes is named in the ledger.
func (r *activeRun) diskFull(shard uint64, err error) {
	r.mu.Lock()
	first := !r.full
	r.full = true
	r.mu.Unlock()
	if !first {
		return
	}
	r.w.cfg.Logger.Error("the disk is full", "shard", shard, "error", err)
	r.rx.Report(frames.KindFailed, link.Failed{Run: r.spec.Run, Error: oneLine(err), DiskFull: true, Shards: []uint64{shard}})
}

// sealedBy notes that a worker has sealed its shard and reports it.
func (r *activeRun) sealedBy(k *worker) {
	n, err := k.store.ReadableUntil()
	r.mu.Lock()
	r.sealed[k.shardNo] = k.epoch
	if err == nil {
		r.readable = max(r.readable, n)
	}
	r.mu.Unlock()
	r.rx.Seal(frames.Assignment{Shard: k.shardNo, Epoch: k.epoch})
}

// noteDirect keeps whether the disk is written past the page cache.
func (r *activeRun) noteDirect(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.direct, r.fallback = reason == nil, ""
	if reason != nil {
		r.fallback = reason.Error()
	}
}

// dismiss ends a worker unless there is something for it to do.
func (r *activeRun) dismiss(k *worker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(k.frames)+len(k.losses) > 0 {
		return false
	}
	if r.workers[k.shardNo] == k {
		delete(r.workers, k.shardNo)
	}
	return true
}

func (r *activeRun) claims() []link.Claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	var cs []link.Claim
	for _, k := range r.workers {
		if r.sealed[k.shardNo] != k.epoch { // one that is sealed is about to go
			cs = append(cs, link.Claim{Shard: k.shardNo, Epoch: k.epoch})
		}
	}
	slices.SortFunc(cs, func(a, b link.Claim) int { return int(int64(a.Shard) - int64(b.Shard)) })
	return cs
}

// oneLine is an error as a message that people read.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fenced reports whether an error only says that the shard is another's now.
func fenced(err error) bool { return errors.Is(err, store.ErrFenced) }

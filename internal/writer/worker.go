package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// inFlight is how many commits of a shard write at a time; any number of them is synced meanwhile.
	inFlight = 2
	// damagePause is how long a new owner waits for a frame to be offered again that a former one had, damaged.
	damagePause = time.Second
	// lockPause is how long a worker waits before it tries again to seal under a lock that another keeps.
	lockPause = 200 * time.Millisecond
)

// worker owns one shard under one epoch, until it is sealed or the run given up.
type worker struct {
	r       *activeRun
	store   *store.Store
	shardNo uint64
	epoch   uint64

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the worker has ended
	wake   chan struct{} // holds one token when there is news

	// The queue: what came and was not looked at. The run's mutex guards it.
	frames []link.Offered
	losses []frames.LossRecord

	shard   *store.Shard
	sampled sync.Once // whether a checksum that came with a frame was looked at

	mu sync.Mutex // guards what follows
	// working has the frames that are queued for a commit or in one, each with every offer that asked for it.
	working map[uint64][]link.Offered
	ready   []link.Offered      // to be committed, in order
	lost    []frames.LossRecord // to be committed
	err     error               // why the worker ends
}

func newWorker(r *activeRun, s *store.Store, a frames.Assignment) *worker {
	k := &worker{
		r: r, store: s, shardNo: a.Shard, epoch: a.Epoch,
		done: make(chan struct{}), wake: make(chan struct{}, 1), working: map[uint64][]link.Offered{},
	}
	k.ctx, k.cancel = context.WithCancel(r.ctx)
	return k
}

// poke wakes the worker. It never blocks.
func (k *worker) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run takes the shard, commits what comes and seals it.
func (k *worker) run() {
	err := k.work()
	switch {
	case k.ctx.Err() != nil:
	case errors.Is(err, store.ErrFinished): // it was recovered while a slab still had the run
		k.r.fail(k.shardNo, fmt.Errorf("%w: what acquire still has of the run goes with `sluice recover --discard-slab`", err))
	case fenced(err):
		k.r.w.cfg.Logger.Info("shard given up to another", "shard", k.shardNo, "epoch", k.epoch, "reason", err)
		k.r.mu.Lock()
		if k.r.workers[k.shardNo] == k {
			delete(k.r.workers, k.shardNo)
		}
		k.r.mu.Unlock()
	case err != nil:
		k.r.fail(k.shardNo, err)
	}
}

func (k *worker) work() error {
	var err error
	k.r.w.meter.enter()
	k.shard, err = k.store.TakeShard(k.ctx, k.shardNo, k.epoch)
	k.r.w.meter.leave()
	if err != nil {
		return err
	}
	defer k.shard.Close()
	var damage <-chan time.Time // when what is damaged goes to the ledger
	if len(k.shard.Damaged()) > 0 {
		damage = time.After(damagePause)
	}
	var commits sync.WaitGroup
	defer commits.Wait()
	slots := make(chan struct{}, k.inFlight())
	for {
		k.sort()
		for k.pending() {
			select {
			case slots <- struct{}{}:
			case <-k.ctx.Done():
				return k.ctx.Err()
			}
			fs, ls := k.batch()
			commits.Go(func() {
				defer k.poke()
				k.commit(fs, ls, func() {
					<-slots
					k.poke()
				})
			})
			k.sort()
		}
		if err := k.failure(); err != nil {
			return err
		}
		if k.complete() {
			commits.Wait()
			if over, err := k.seal(); over || err != nil {
				return err
			}
			continue
		}
		select {
		case <-k.wake:
		case <-damage:
			k.sort()
			k.loseDamaged()
		case <-k.ctx.Done():
			return k.ctx.Err()
		}
	}
}

// inFlight is how many commits of the shard write at a time.
func (k *worker) inFlight() int {
	if k.r.spec.Codec == "none" {
		return inFlight
	}
	return inFlight + 1 // which is compressed meanwhile
}

// loseDamaged queues the losses of frames that a former owner had and nobody offers again: it has released them.
func (k *worker) loseDamaged() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.shard.Damaged() {
		if _, working := k.working[l.Seq]; !working {
			k.r.w.cfg.Logger.Error("a frame that was durable is damaged", "shard", k.shardNo, "seq", l.Seq)
			k.lost = append(k.lost, frames.LossRecord{Loss: l, Epoch: k.epoch})
		}
	}
}

// sort looks at what came: what is dealt with is answered, what is in work waits, the rest is to be committed.
func (k *worker) sort() {
	k.r.mu.Lock()
	fs, ls := k.frames, k.losses
	k.frames, k.losses = nil, nil
	k.r.mu.Unlock()
	var durable []link.Offered
	var settled []frames.LossRecord
	gone := map[frames.State][]link.Offered{} // too late to be written, by the reason of their loss
	k.mu.Lock()
	for _, f := range fs {
		seq := f.Offer.Seq
		offers, working := k.working[seq]
		switch st := k.shard.State(seq); {
		case working:
			k.working[seq] = append(offers, f)
		case st == frames.Durable:
			durable = append(durable, f)
		case st.Lost() && k.shard.Published():
			gone[st] = append(gone[st], f)
		default:
			k.working[seq] = append(offers, f)
			k.ready = append(k.ready, f)
		}
	}
	for _, l := range ls {
		if k.accounted(l.Loss) {
			settled = append(settled, l)
		} else {
			k.lost = append(k.lost, l)
		}
	}
	k.mu.Unlock()
	k.r.rx.Release(durable, frames.Durable)
	for st, fs := range gone {
		k.r.rx.Release(fs, st)
	}
	k.r.rx.Settle(settled)
}

// accounted reports whether every frame of a range is durable or in a ledger.
func (k *worker) accounted(l frames.Loss) bool {
	for seq := l.Seq; seq < l.End(); seq++ {
		if k.shard.State(seq) == frames.Absent {
			return false
		}
	}
	return true
}

func (k *worker) pending() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err == nil && len(k.ready)+len(k.lost) > 0
}

func (k *worker) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// batch takes all that waits, up to the most that a commit holds.
func (k *worker) batch() ([]link.Offered, []frames.LossRecord) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := min(len(k.ready), max(1, k.r.w.cfg.CommitBytes/k.r.spec.Geometry.FrameBytes()))
	fs, ls := k.ready[:n:n], k.lost
	k.ready, k.lost = k.ready[n:], nil
	return fs, ls
}

// complete reports whether every frame that the shard will have is accounted for.
func (k *worker) complete() bool {
	end, known := k.r.shardEnd(k.shardNo)
	return known && k.shard.Missing(end) == 0
}

// seal seals the shard and reports it. over is false where more came meanwhile.
func (k *worker) seal() (over bool, err error) {
	end, _ := k.r.shardEnd(k.shardNo)
	k.r.w.meter.enter()
	err = k.shard.Seal(k.ctx, end)
	k.r.w.meter.leave()
	if errors.Is(err, vfs.ErrLocked) {
		k.r.w.cfg.Logger.Warn("the store's lock is kept by another process", "shard", k.shardNo, "error", err)
		select {
		case <-k.ctx.Done():
			return false, k.ctx.Err()
		case <-time.After(lockPause):
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	k.sort() // what came meanwhile is answered before the seal is reported
	k.r.sealedBy(k)
	return k.r.dismiss(k), nil
}

// commit makes frames and losses durable and gives them back. It calls written, once, when others may write.
func (k *worker) commit(fs []link.Offered, ls []frames.LossRecord, written func()) {
	k.r.w.meter.enter()
	pending, err := k.write(fs, ls)
	written()
	if err == nil {
		err = pending.Wait()
	}
	k.r.w.meter.leave()
	switch {
	case err == nil:
		if len(fs) > 0 {
			k.r.noteDirect(k.shard.Direct())
		}
		k.r.w.meter.done(fs, k.r.spec.Geometry.FrameBytes())
		k.r.w.touch()
		k.r.rx.Release(k.settle(fs), frames.Durable)
		k.r.rx.Settle(ls)
	case errors.Is(err, frames.ErrReclaimed) || errors.Is(err, frames.ErrReleased):
		k.retry(fs, ls)
	case vfs.IsFull(err) && !errors.Is(err, store.ErrBroken):
		k.giveUp(fs, ls, err)
	default:
		k.end(err)
	}
}

// write puts frames and losses into the shard.
func (k *worker) write(fs []link.Offered, ls []frames.LossRecord) (*store.Pending, error) {
	frs, err := k.lend(fs)
	if err != nil {
		return nil, err
	}
	losses := make([]frames.Loss, len(ls))
	for i, l := range ls {
		losses[i] = l.Loss
	}
	return k.shard.Write(k.ctx, frs, losses)
}

// end has the worker end with an error.
func (k *worker) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
	}
}

// giveUp names frames in the ledger for which the disk has no room: there is some for that. Acquire is told to end the
// run.
func (k *worker) giveUp(fs []link.Offered, ls []frames.LossRecord, full error) {
	k.r.diskFull(k.shardNo, full)
	var losses []frames.Loss
	for _, l := range ls {
		losses = append(losses, l.Loss)
	}
	for _, f := range fs {
		losses = append(losses, frames.Loss{
			Seq: f.Offer.Seq, Count: 1, FirstFrameID: f.Offer.FrameID, LastFrameID: f.Offer.FrameID,
			FirstNS: f.Offer.HostNS, LastNS: f.Offer.HostNS, Reason: frames.Unwritten, Stage: frames.AtWriter,
		})
	}
	k.r.w.meter.enter()
	err := k.shard.Commit(k.ctx, nil, losses)
	k.r.w.meter.leave()
	if err != nil {
		k.end(err)
		return
	}
	k.r.w.touch()
	k.r.rx.Release(k.settle(fs), frames.Unwritten)
	k.r.rx.Settle(ls)
}

// lend makes the store's frames of what lies in the slab.
func (k *worker) lend(fs []link.Offered) ([]store.Frame, error) {
	if err := k.sample(fs); err != nil {
		return nil, err
	}
	out := make([]store.Frame, len(fs))
	for i, f := range fs {
		pixels, err := f.Frame.Pixels()
		if err != nil {
			return nil, err
		}
		out[i] = store.Frame{
			Seq: f.Offer.Seq, FrameID: f.Offer.FrameID, DeviceNS: f.Offer.DeviceNS, HostNS: f.Offer.HostNS,
			Pixels: pixels, Intact: f.Frame.Intact,
		}
		if !k.r.distrusts.Load() {
			out[i].Checksum = f.Frame.Checksum
		}
	}
	return out, nil
}

// sample makes one checksum of each shard that came with its frame once more. A camera that makes wrong ones would have
// each of its frames taken for damaged by whoever takes an open shard over: if this one is wrong, the writer makes all others of the run.
func (k *worker) sample(fs []link.Offered) (err error) {
	if len(fs) == 0 {
		return nil
	}
	k.sampled.Do(func() {
		f := fs[0].Frame
		pixels, e := f.Pixels()
		if err = e; err != nil || f.Checksum == 0 {
			return
		}
		var crc uint32
		if err = frames.Guard(pixels, func() { crc = crc32c.Checksum(pixels) }); err != nil || crc == f.Checksum || f.Intact() != nil {
			return
		}
		if !k.r.distrusts.Swap(true) {
			k.r.w.cfg.Logger.Error("the checksum that came with a frame is not that of its pixels: the writer makes its own from here on",
				"shard", k.shardNo, "seq", f.Seq, "came", fmt.Sprintf("%08x", f.Checksum), "made", fmt.Sprintf("%08x", crc))
		}
	})
	return err
}

// settle takes frames out of work and returns every offer of them.
func (k *worker) settle(fs []link.Offered) []link.Offered {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]link.Offered, 0, len(fs))
	for _, f := range fs {
		all = append(all, k.working[f.Offer.Seq]...)
		delete(k.working, f.Offer.Seq)
	}
	return all
}

// retry queues again what is intact of a commit in which a frame was taken away: acquire has given up on this
// writer, or on the frame.
func (k *worker) retry(fs []link.Offered, ls []frames.LossRecord) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range fs {
		if _, err := f.Frame.Pixels(); err != nil || f.Frame.Intact() != nil {
			k.r.w.cfg.Logger.Warn("a frame was taken back before it was durable", "seq", f.Offer.Seq)
			delete(k.working, f.Offer.Seq)
			continue
		}
		k.ready = append(k.ready, f)
	}
	for _, l := range ls {
		if !k.accounted(l.Loss) {
			k.lost = append(k.lost, l)
		}
	}
}

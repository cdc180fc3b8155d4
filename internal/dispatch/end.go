package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// End says that the camera's last frame was offered. Drained tells when everything is released.
func (d *Dispatcher) End() {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	r.ended = true
	if r.shards != nil {
		r.shards.remind()
	}
	r.check()
}

// Drained is closed when every frame is released, every loss settled and every shard sealed.
func (d *Dispatcher) Drained() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.drained
}

// Hopeless is closed when a required group can take no more frames; Failure says why.
func (d *Dispatcher) Hopeless() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.lostAll
}

// DiskFull is closed when a writer has no room for its frames: they go to the ledger, and the run should end.
func (d *Dispatcher) DiskFull() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.full
}

// DiskBroken is closed when writers end by errors of their disk, one after the other, and no frame becomes durable: the
// run should end, and what is not durable be given up.
func (d *Dispatcher) DiskBroken() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.broken
}

// Failure is the last member's reason for not going on, and whether its disk is full.
func (d *Dispatcher) Failure() (reason string, diskFull bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.failure, d.run.diskFull
}

// GiveUp ledgers every frame that the sharded group has not released, and takes the frames from the other groups:
// the drain's deadline is over. Frames that become durable meanwhile stay so. An error that wraps slab.ErrLossTable
// means that some are left: call it again when ledger lines have made room.
func (d *Dispatcher) GiveUp(reason frames.State) error {
	d.mu.Lock()
	r := d.run
	now := r.slab.Clock().Now()
	var freed int64
	defer func() {
		d.mu.Unlock()
		if freed > 0 {
			r.free(freed)
		}
	}()
	for i := range r.groups {
		if p, ok := r.groups[i].(*pool); ok {
			p.orphan = nil // given to nobody any more, also where this call can't finish
		}
	}
	var slots []int
	r.slab.Held(func(slot int, _ slab.Record) { slots = append(slots, slot) })
	for _, slot := range r.inOrder(slots) {
		rec, _ := r.slab.Record(slot)
		for i := range r.groups {
			if p, ok := r.groups[i].(*pool); ok && rec.Holders&(1<<i) != 0 {
				if m := p.owner[slot]; m != nil {
					m.outstanding--
				}
				delete(p.owner, slot)
				freed += r.let(slot, i)
			}
		}
		if r.shards != nil && rec.Holders&(1<<r.shards.g) != 0 && !r.shards.losing(rec.Seq) {
			l := frames.Loss{
				Seq: rec.Seq, Count: 1, FirstFrameID: rec.FrameID, LastFrameID: rec.FrameID,
				FirstNS: now, LastNS: now, Reason: reason, Stage: frames.AtWriter,
			}
			if _, err := r.lose(l); err != nil {
				r.check()
				return fmt.Errorf("give frame %d up: %w", rec.Seq, err)
			}
		}
	}
	r.check()
	return nil
}

// AwaitResults waits until the members that own no shards have their last results out, for as long as ctx allows. One
// that is silent is not waited for.
func (d *Dispatcher) AwaitResults(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond) // silence shows by the time alone
	defer tick.Stop()
	for {
		changed, waiting := d.resultsMissing()
		if !waiting {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Dispatcher) resultsMissing() (changed <-chan struct{}, missing bool) {
	const silent = 2 * time.Second
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, m := range d.members {
		if !d.cfg.Groups[m.group].Sharded && m.ready && m.failed == "" && m.finished != d.run.spec.Run && !m.hung(now, silent) {
			return d.changed, true
		}
	}
	return nil, false
}

// Finish has the primary writer complete the store, and returns its account. It waits for another primary when one
// dies. Without a sharded group it returns the summary as it is.
func (d *Dispatcher) Finish(ctx context.Context, s run.Summary) (run.Summary, error) {
	d.mu.Lock()
	r := d.run
	if r.shards == nil {
		d.mu.Unlock()
		return s, nil
	}
	r.finish = &link.Finish{Run: r.spec.Run, Summary: s}
	r.askFinish()
	d.mu.Unlock()
	select {
	case f := <-r.done:
		if f.Error != "" {
			return s, fmt.Errorf("%w: %s", ErrFinish, f.Error)
		}
		return account(s, f.Summary)
	case <-ctx.Done():
		return s, fmt.Errorf("%w: %w", ErrFinish, ctx.Err())
	}
}

// account is acquire's account of a run with what only the store knows. A writer whose figures contradict acquire's, or
// each other, is not believed.
func account(s, store run.Summary) (run.Summary, error) {
	var lost uint64
	reasons := map[string]uint64{}
	for state := frames.Durable + 1; state.Lost(); state++ {
		if n := store.LostByReason[state.String()]; n > 0 {
			reasons[state.String()] = n
			lost += n
		}
	}
	if store.Captured != s.Captured || store.Written > s.Captured || store.Written+store.Lost != s.Captured || lost != store.Lost || len(store.Store) > maxPath {
		return s, fmt.Errorf("%w: the writer's account is of %d frames, %d written and %d lost, of which %d have a reason; the run has %d",
			ErrFinish, store.Captured, store.Written, store.Lost, lost, s.Captured)
	}
	s.Store, s.Written, s.Lost, s.LostByReason = store.Store, store.Written, store.Lost, reasons
	s.Bytes, s.StoredBytes = store.Bytes, store.StoredBytes
	return s, nil
}

// CloseRun ends the run for every member. The slab may go after it.
func (d *Dispatcher) CloseRun() {
	d.mu.Lock()
	r := d.run
	d.mu.Unlock()
	d.close(r)
}

// close ends r, if that is the run that goes on.
func (d *Dispatcher) close(r *runState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r == nil || d.run != r {
		return
	}
	for _, m := range d.members {
		if m.armed == r.spec.Run {
			r.tell(m, frames.KindClosed, link.Closed{Run: r.spec.Run})
			m.armed, m.ready = frames.RunID{}, false
		}
	}
	d.run = nil
}

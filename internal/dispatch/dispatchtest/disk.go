package dispatchtest

import (
	"fmt"
	"sync"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Disk is what the writers of a run share: what outlives each of them. It fences as a store does: who has taken a
// shard under a later epoch shuts out those before.
type Disk struct {
	// K is the number of frames in a shard.
	K uint64

	mu     sync.Mutex // guards what follows
	frames map[uint64]frames.State
	epochs map[uint64]uint64 // the newest epoch by shard
	sealed map[uint64]uint64 // by shard, the epoch that it was sealed under
	twice  []string          // what must not happen
}

// NewDisk returns an empty disk for shards of k frames.
func NewDisk(k uint64) *Disk {
	return &Disk{K: k, frames: map[uint64]frames.State{}, epochs: map[uint64]uint64{}, sealed: map[uint64]uint64{}}
}

// take fences a shard; false when a later owner has it.
func (d *Disk) take(shard, epoch uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if epoch < d.epochs[shard] {
		return false
	}
	d.epochs[shard] = epoch
	return true
}

// put makes a frame durable, or with a reason of loss ledgers it; false for a writer that was fenced off. Durable wins.
func (d *Disk) put(seq, epoch uint64, state frames.State) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epochs[seq/d.K] != epoch {
		return false
	}
	if d.frames[seq] == frames.Durable {
		return true
	}
	if _, sealed := d.sealed[seq/d.K]; sealed && d.frames[seq] == frames.Absent {
		d.twice = append(d.twice, fmt.Sprintf("frame %d came after its shard was sealed", seq))
	}
	d.frames[seq] = state
	return true
}

// seal completes a shard that has every seq below end; false while it has not, or for one that was fenced off.
func (d *Disk) seal(shard, epoch, end uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epochs[shard] != epoch {
		return false
	}
	for seq := shard * d.K; seq < min((shard+1)*d.K, end); seq++ {
		if d.frames[seq] == frames.Absent {
			return false
		}
	}
	d.sealed[shard] = epoch
	return true
}

// State is what became of a frame.
func (d *Disk) State(seq uint64) frames.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frames[seq]
}

// Counts says how many frames are in each state.
func (d *Disk) Counts() map[frames.State]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := map[frames.State]uint64{}
	for _, s := range d.frames {
		n[s]++
	}
	return n
}

// Sealed is the epoch that a shard was sealed under last, 0 for one that is open.
func (d *Disk) Sealed(shard uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sealed[shard]
}

// Audit returns an error unless each frame below captured, and no other, is durable or ledgered, and each of their
// shards is sealed under its last epoch.
func (d *Disk) Audit(captured uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.twice) > 0 {
		return fmt.Errorf("%d faults: %s", len(d.twice), d.twice[0])
	}
	for seq := range captured {
		if d.frames[seq] == frames.Absent {
			return fmt.Errorf("frame %d of %d is neither durable nor ledgered", seq, captured)
		}
	}
	if n := uint64(len(d.frames)); n != captured {
		return fmt.Errorf("%d frames on the disk, %d were captured", n, captured)
	}
	for shard := range (captured + d.K - 1) / d.K {
		if e := d.sealed[shard]; e == 0 || e != d.epochs[shard] {
			return fmt.Errorf("shard %d was sealed under epoch %d, its last is %d", shard, e, d.epochs[shard])
		}
	}
	return nil
}

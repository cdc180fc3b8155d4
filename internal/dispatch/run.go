package dispatch

import (
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Mask has the bits of the lossless groups: what slab.Commit takes.
func (d *Dispatcher) Mask() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return 0
	}
	return d.run.mask
}

// Offer hands a committed frame to every group.
func (d *Dispatcher) Offer(slot int, rec slab.Record) {
	d.mu.Lock()
	r := d.run
	r.next = max(r.next, rec.Seq+1)
	// The hold of the one who offers: a latest group that lets the frame go must not free it before all have it.
	r.lent[slot]++
	for _, g := range r.groups {
		g.offer(slot, rec)
	}
	r.letLatest(slot)
	d.mu.Unlock()
	if r.mask == 0 {
		r.free(int64(r.slab.Stride()))
	}
}

// Lose accounts for frames that never came into the slab. It returns an error wrapping slab.ErrLossTable when too
// many ranges wait for their ledger lines, and what is left of the range: then wait a moment and try again with that.
func (d *Dispatcher) Lose(l frames.Loss) (frames.Loss, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.lose(l)
}

func (r *runState) lose(l frames.Loss) (frames.Loss, error) {
	if r.shards == nil { // nobody keeps a ledger
		entry, err := r.slab.AddLoss(l)
		if err != nil {
			return l, err
		}
		r.slab.RemoveLoss(entry)
		r.next = max(r.next, l.End())
		r.account(l.Reason, l.Count)
		return frames.Loss{}, nil
	}
	for {
		part, rest := l, frames.Loss{}
		if end := (r.spec.Shard(l.Seq) + 1) * r.spec.ShardFrames; l.End() > end {
			part, rest = l.Split(end)
		}
		if err := r.shards.lose(part); err != nil {
			return l, err
		}
		r.next = max(r.next, part.End())
		if rest.Count == 0 {
			return rest, nil
		}
		l = rest
	}
}

// Crammed reports whether there is hardly room for more ranges of lost frames: none should be kept that would part two.
func (d *Dispatcher) Crammed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run != nil && d.run.shards != nil && d.run.shards.book.crammed()
}

// Event hands one line for events.jsonl to the primary writer.
func (d *Dispatcher) Event(line []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	if r == nil || r.shards == nil {
		return
	}
	const most = 4096 // that wait, whether for a primary or for one that is hung
	for _, m := range d.members {
		if m.ready && m.name == r.head[r.shards.g] {
			if m.conn.Peer().Unconfirmed < most {
				m.out.message(frames.KindEvent, line)
			}
			return
		}
	}
	if len(r.events) < most {
		r.events = append(r.events, line)
	}
}

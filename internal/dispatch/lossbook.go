package dispatch

import (
	"slices"

	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// loss is a range of one shard on its way to the ledger.
type loss struct {
	frames.Loss
	entry *entry
	sent  bool
}

// entry is a range in the slab's table. It may span shards: then it consists of several losses.
type entry struct {
	number int
	frames.Loss
	parts []*loss // in order
}

// lossBook has the losses that no ledger has confirmed, here and in the slab's table. Both stay small whatever is lost:
// a range that continues another one takes no entry of its own, between two others lies a frame in a slot, and for the
// rest, ranges that differ in their reasons, there is a limit.
type lossBook struct {
	slab  *slab.Slab
	tail  *entry // the newest, which may grow
	count int    // of losses
	// mixed counts frames that are named under the reason of those before them.
	mixed uint64
}

// crowded reports whether neighbours become one range whatever their reasons: the table, or what is here, is half full.
func (b *lossBook) crowded() bool {
	room, size := b.slab.LossRoom()
	return 2*max(b.count, size-room) >= size
}

// crammed reports whether there is hardly room for more: nothing should be kept that would part two ranges.
func (b *lossBook) crammed() bool {
	room, size := b.slab.LossRoom()
	return 10*room < size
}

// add takes a range that follows all others of its shard, of which last is the newest, if there is one. It returns
// last, where that has grown by the range, or a new loss.
func (b *lossBook) add(l frames.Loss, last *loss) (*loss, error) {
	e := b.tail
	if e == nil || l.Seq != e.End() || !b.same(l, e.parts[len(e.parts)-1].Loss) {
		number, err := b.slab.AddLoss(l)
		if err != nil {
			return nil, err
		}
		b.tail = &entry{number: number, Loss: l}
		return b.append(b.tail, l), nil
	}
	joined := l.Join(e.Loss)
	number, err := b.slab.ReplaceLoss(e.number, joined)
	if err != nil {
		return nil, err
	}
	e.number, e.Loss = number, joined
	if newest := e.parts[len(e.parts)-1]; newest == last && !last.sent {
		if !l.Follows(last.Loss) {
			b.mixed += l.Count
		}
		last.Loss = l.Join(last.Loss)
		return last, nil
	}
	return b.append(e, l), nil
}

// same reports whether l and the range before it may be one.
func (b *lossBook) same(l, before frames.Loss) bool {
	return l.Follows(before) || b.crowded() && !givenUp(l) && !givenUp(before)
}

func (b *lossBook) append(e *entry, l frames.Loss) *loss {
	part := &loss{Loss: l, entry: e}
	e.parts = append(e.parts, part)
	b.count++
	return part
}

// load takes up a range that a killed acquire left in the table; its losses are appended next.
func (b *lossBook) load(number int, l frames.Loss) *entry { return &entry{number: number, Loss: l} }

// settle forgets a loss whose ledger line is synced. What is before and what is behind it in the table is two entries then.
func (b *lossBook) settle(l *loss) {
	e := l.entry
	i := slices.Index(e.parts, l)
	before, behind := e.parts[:i], e.parts[i+1:]
	b.count--
	switch {
	case len(before)+len(behind) == 0:
		e.parts = nil
		b.slab.RemoveLoss(e.number)
		if b.tail == e {
			b.tail = nil
		}
		return
	case len(before) == 0:
		before = behind
	case len(behind) > 0:
		behind = slices.Clone(behind)
		f := &entry{Loss: e.of(behind), parts: behind}
		number, err := b.slab.AddLoss(f.Loss)
		if err != nil { // the entry names the settled range too: a later acquire would have it named twice
			e.parts = slices.Delete(e.parts, i, i+1)
			return
		}
		f.number = number
		for _, p := range behind {
			p.entry = f
		}
		if b.tail == e {
			b.tail = f
		}
	}
	e.parts, e.Loss = before, e.of(before)
	if number, err := b.slab.ReplaceLoss(e.number, e.Loss); err == nil {
		e.number = number
	}
}

// of is the range of parts of the entry.
func (e *entry) of(parts []*loss) frames.Loss {
	l, last := parts[0].Loss, parts[len(parts)-1].Loss
	l.Count, l.LastFrameID, l.LastNS = last.End()-l.Seq, last.LastFrameID, last.LastNS
	l.Reason, l.Stage = e.Reason, e.Stage
	return l
}

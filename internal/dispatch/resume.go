package dispatch

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// claim confirms the shards that members still own.
func (r *runState) claim(ms ...*member) {
	for _, m := range ms {
		if r.shards == nil || m.group != r.shards.g || m.claimed != r.spec.Run {
			continue
		}
		for _, c := range m.claims {
			r.shards.claim(m, c)
		}
	}
}

// load takes up what a killed acquire left in the slab, and returns its bytes.
func (r *runState) load() int64 {
	r.next = r.slab.Captured()
	// A writer that knows the run's end from the acquire before may seal the last shard at once.
	r.ended = r.slab.Phase() == slab.Draining
	var slots []int
	r.slab.Held(func(slot int, rec slab.Record) {
		// A group that was lossless in the run's first part and is not now holds nothing any more.
		for i := range bits.Len32(rec.Holders) {
			if rec.Holders&^r.mask&(1<<i) != 0 {
				r.slab.Let(slot, i)
			}
		}
		if rec.Holders&r.mask == 0 {
			r.slab.Free(slot)
			return
		}
		slots = append(slots, slot)
	})
	for _, slot := range r.inOrder(slots) {
		rec, _ := r.slab.Record(slot)
		for i, g := range r.groups {
			if rec.Holders&(1<<i) != 0 {
				g.offer(slot, rec)
			}
		}
	}
	if r.shards != nil {
		for number, l := range r.slab.Losses() {
			r.shards.loadLoss(number, l)
		}
		for _, sh := range r.shards.open {
			slices.SortFunc(sh.loss, func(a, b *loss) int { return cmp.Compare(a.Seq, b.Seq) })
		}
		for no := r.slab.Sealed(); no < r.spec.Shards(r.slab.Captured()); no++ {
			r.shards.shard(no)
		}
	}
	return int64(len(slots)) * int64(r.slab.Stride())
}

// loadLoss takes up a range of the slab's table, shard by shard.
func (s *shards) loadLoss(number int, l frames.Loss) {
	e := s.book.load(number, l)
	for rest := l; rest.Count > 0; {
		part := rest
		rest = frames.Loss{}
		if end := (s.r.spec.Shard(part.Seq) + 1) * s.r.spec.ShardFrames; part.End() > end {
			part, rest = part.Split(end)
		}
		taken := s.book.append(e, part)
		if no := s.r.spec.Shard(part.Seq); no >= s.r.slab.Sealed() {
			sh := s.shard(no)
			sh.loss = append(sh.loss, taken)
		} else { // sealed, so it was in the ledger
			s.book.settle(taken)
		}
	}
}

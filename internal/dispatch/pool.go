package dispatch

import (
	"time"

	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// pool is a lossless group without shards: each frame goes to the member with the least in hand.
type pool struct {
	r      *runState
	g      int
	owner  map[int]*member // by slot; nil for a frame that waits for a member
	orphan []int           // slots without an owner, in order
}

var _ group = (*pool)(nil)

func newPool(r *runState, g int) *pool { return &pool{r: r, g: g, owner: map[int]*member{}} }

func (p *pool) offer(slot int, rec slab.Record) {
	m := p.r.d.pick(p.g)
	p.owner[slot] = m
	if m == nil {
		p.orphan = append(p.orphan, slot)
		return
	}
	m.outstanding++
	p.r.d.served(m)
	m.out.offer(rec.Offer(slot, 0))
}

func (p *pool) release(m *member, rel frames.Release) bool {
	if owner, ok := p.owner[int(rel.Slot)]; !ok || owner != m || !p.r.matches(rel) {
		return false
	}
	delete(p.owner, int(rel.Slot))
	m.outstanding--
	return true
}

func (p *pool) ready(*member) { p.adopt() }

func (p *pool) adopt() {
	slots := p.orphan
	p.orphan = nil
	for _, slot := range slots {
		if rec, err := p.r.slab.Record(slot); err == nil {
			p.offer(slot, rec)
			if m := p.owner[slot]; m != nil {
				m.redelivered++
			}
		}
	}
}

func (p *pool) gone(m *member) {
	var slots []int
	for slot, owner := range p.owner {
		if owner == m {
			p.owner[slot] = nil
			slots = append(slots, slot)
		}
	}
	m.outstanding = 0
	p.orphan = p.r.inOrder(append(p.orphan, slots...))
}

func (p *pool) advance(time.Time) {
	if len(p.orphan) > 0 && p.r.d.pick(p.g) != nil {
		p.adopt()
	}
}

func (p *pool) quiet() bool { return len(p.owner) == 0 }

func (p *pool) held(f func(*member, int)) {
	for slot, m := range p.owner {
		f(m, slot)
	}
}

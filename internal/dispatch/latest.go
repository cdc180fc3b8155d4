package dispatch

import (
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// latest is a group that gets the newest frame it can keep up with. One unit of the reserve is for the newest
// frame, which stays until a newer one comes, so that a member that becomes idle, and the end of the run, find
// it; each frame in a member's hands takes another unit, or none is handed out.
type latest struct {
	r       *runState
	g       int
	newest  int // slot, -1 for none
	record  slab.Record
	waiting bool // newest is in nobody's hands yet
	lent    map[*member]loan
}

// loan is a frame in a member's hands.
type loan struct {
	slot       int
	seq        uint64
	generation uint64
	since      time.Time
	reclaimed  bool // the slot was taken back; the member is busy until it says so
}

var _ group = (*latest)(nil)

func newLatest(r *runState, g int) *latest {
	return &latest{r: r, g: g, newest: -1, lent: map[*member]loan{}}
}

func (l *latest) offer(slot int, rec slab.Record) {
	if l.waiting && l.peopled() { // where there is nobody, nobody skips
		l.r.slab.AddTally(slab.Skipped, 1)
	}
	if l.newest >= 0 {
		l.r.letLatest(l.newest)
	} else if l.r.reserve.TryAcquire(int64(l.r.slab.Stride())) != nil {
		l.r.slab.AddTally(slab.Skipped, 1)
		return
	}
	l.newest, l.record, l.waiting = slot, rec, true
	l.r.holdLatest(slot)
	l.hand()
}

// peopled reports whether the group has a member.
func (l *latest) peopled() bool {
	return slices.ContainsFunc(l.r.d.members, func(m *member) bool { return m.group == l.g && m.ready })
}

// hand gives the newest frame to the idle member whose turn it is, if there is one and the reserve has a unit for it.
func (l *latest) hand() {
	if !l.waiting {
		return
	}
	now := time.Now()
	var next *member
	for _, m := range l.r.d.members {
		if _, busy := l.lent[m]; !busy && m.stays() && l.r.d.takes(m, l.g, now) && (next == nil || m.before(next)) {
			next = m
		}
	}
	if next == nil || l.r.reserve.TryAcquire(int64(l.r.slab.Stride())) != nil {
		return
	}
	l.waiting = false
	l.r.holdLatest(l.newest)
	l.lent[next] = loan{slot: l.newest, seq: l.record.Seq, generation: l.record.Generation, since: now}
	next.outstanding++
	l.r.d.served(next)
	next.out.offer(l.record.Offer(l.newest, 0))
}

func (l *latest) release(m *member, rel frames.Release) bool {
	have, ok := l.lent[m]
	if !ok || have.slot != int(rel.Slot) || have.generation != rel.Generation || have.seq != rel.Seq {
		return false
	}
	l.end(m, have)
	l.hand()
	return !have.reclaimed
}

// end takes a loan off the books.
func (l *latest) end(m *member, have loan) {
	delete(l.lent, m)
	if !have.reclaimed {
		m.outstanding--
		l.r.returnLoan(have.slot)
	}
}

func (l *latest) ready(m *member) {
	if have, ok := l.lent[m]; ok {
		l.end(m, have)
	}
	l.hand()
}

func (l *latest) gone(m *member) {
	if have, ok := l.lent[m]; ok {
		l.end(m, have)
	}
}

// advance reclaims slots from members that do not release.
func (l *latest) advance(now time.Time) {
	for m, have := range l.lent {
		if have.reclaimed || now.Sub(have.since) < l.r.d.cfg.Reclaim {
			continue
		}
		have.reclaimed = true
		l.lent[m] = have
		m.outstanding--
		l.r.slab.AddTally(slab.Skipped, 1)
		l.r.returnLoan(have.slot)
		l.r.d.note(Fact{Kind: Reclaimed, Member: m.name, Group: l.r.d.cfg.Groups[l.g].Name, PID: m.conn.Peer().Join.PID, Frames: 1, Seq: have.seq})
	}
	l.hand()
}

// quiet: the newest frame has reached the group, if there is anyone to reach, and nobody reads any more.
func (l *latest) quiet() bool {
	for _, have := range l.lent {
		if !have.reclaimed {
			return false
		}
	}
	if !l.waiting {
		return true
	}
	now := time.Now()
	for _, m := range l.r.d.members {
		_, busy := l.lent[m]
		if !busy && m.stays() && l.r.d.takes(m, l.g, now) {
			return false
		}
	}
	return true
}

func (l *latest) held(f func(*member, int)) {
	for m, have := range l.lent {
		if !have.reclaimed {
			f(m, have.slot)
		}
	}
}

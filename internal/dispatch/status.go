package dispatch

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Account is the whole run as the dispatcher sees it, over restarts of acquire.
type Account struct {
	Captured uint64
	Durable  uint64
	InFlight uint64 // held by lossless groups
	Lost     map[frames.State]uint64
	Skipped  uint64 // by latest groups
	Released map[string]uint64
	Restarts int // of members
	// Mixed frames are named under the reason of those lost before them: there were too many ranges.
	Mixed uint64
	// LastDurableNS is the run's time when the newest durable frame was released.
	LastDurableNS int64
	ReadableUntil uint64
	StorePath     string
}

// MemberAccount is one member as the dispatcher sees it.
type MemberAccount struct {
	Name, Group string
	// Carrier is how the run's pixels come to it, empty before it has agreed to a run.
	Carrier     string
	Peer        link.Peer
	Policy      link.Policy
	Primary     bool
	Ready, Hung bool
	// Leaving is set when it has said that it leaves.
	Leaving    bool
	Failed     string
	HeldFrames int
	HeldBytes  int64
	// BufferBytes is the memory that it said it takes for the run.
	BufferBytes int64
	// OldestNS is the host time of the oldest frame in its hands, 0 for none.
	OldestNS    int64
	Redelivered uint64
	Restarts    int
}

// Account returns the numbers of the run; the zero Account when none goes on.
func (d *Dispatcher) Account() Account {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	if r == nil {
		return Account{}
	}
	a := Account{
		Captured: r.slab.Captured(), Durable: r.slab.Accounted(frames.Durable), Lost: map[frames.State]uint64{}, Released: map[string]uint64{},
		Restarts: int(r.slab.Tally(slab.Restarts)), LastDurableNS: r.slab.Tally(slab.DurableNS), Skipped: uint64(r.slab.Tally(slab.Skipped)), ReadableUntil: min(r.slab.Sealed()*r.spec.ShardFrames, r.slab.Captured()), StorePath: r.path,
	}
	for state := frames.Durable + 1; state.Lost(); state++ {
		if n := r.slab.Accounted(state); n > 0 {
			a.Lost[state] = n
		}
	}
	for i, g := range r.groups {
		if n := r.slab.Released(i); n > 0 {
			a.Released[d.cfg.Groups[i].Name] = n
		}
		if l, ok := g.(*latest); ok && l.waiting && r.ended && l.peopled() {
			a.Skipped++
		}
	}
	if r.shards != nil {
		a.Mixed = r.shards.book.mixed
		for _, sh := range r.shards.open {
			a.InFlight += uint64(len(sh.slots))
			for _, l := range sh.loss {
				if !givenUp(l.Loss) { // those are in flight until they are in the ledger
					a.Lost[l.Reason] += l.Count
				}
			}
		}
	}
	return a
}

// Members describes everyone who has joined.
func (d *Dispatcher) Members() []MemberAccount {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	list := make([]MemberAccount, 0, len(d.members))
	at := map[*member]int{}
	for _, m := range d.members {
		if m.gone {
			continue
		}
		at[m] = len(list)
		list = append(list, MemberAccount{
			Name: m.name, Group: d.cfg.Groups[m.group].Name, Policy: d.cfg.Groups[m.group].Policy, Peer: m.conn.Peer(), Ready: m.ready,
			Primary: d.run != nil && d.run.head[m.group] == m.name,
			Hung:    m.hung(now, d.cfg.Hung), Leaving: !m.stays(), Failed: m.failed, Redelivered: m.redelivered, Restarts: m.restarts,
			BufferBytes: m.answer.BufferBytes, Carrier: m.answer.Carrier,
		})
	}
	if d.run == nil {
		return list
	}
	for _, g := range d.run.groups {
		g.held(func(m *member, slot int) {
			i, ok := at[m]
			rec, err := d.run.slab.Record(slot)
			if !ok || err != nil {
				return
			}
			a := &list[i]
			a.HeldFrames++
			a.HeldBytes += int64(d.run.slab.Stride())
			if a.OldestNS == 0 || rec.HostNS < a.OldestNS {
				a.OldestNS = rec.HostNS
			}
		})
	}
	return list
}

// Holding is who holds the most bytes.
type Holding struct {
	Group string
	// Member is who of the group holds the most, empty where most of the group's frames wait for a member.
	Member string
	Bytes  int64 // the group's
}

// Holder says who holds the most. It is zero where nobody holds anything.
func (d *Dispatcher) Holder() Holding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return Holding{}
	}
	var most Holding
	for i, g := range d.run.groups {
		counts := map[string]int{}
		n := 0
		g.held(func(m *member, _ int) {
			n++
			name := ""
			if m != nil {
				name = m.name
			}
			counts[name]++
		})
		if bytes := int64(n) * int64(d.run.slab.Stride()); bytes > most.Bytes {
			most = Holding{Group: d.cfg.Groups[i].Name, Bytes: bytes}
			for _, name := range slices.Sorted(maps.Keys(counts)) {
				if counts[name] > counts[most.Member] {
					most.Member = name
				}
			}
		}
	}
	return most
}

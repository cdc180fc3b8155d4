package dispatch

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// runState is what a Dispatcher knows of the run that goes on. The dispatcher's mutex guards it.
type runState struct {
	d       *Dispatcher
	spec    run.Spec
	slab    *slab.Slab
	budget  *backpressure.Budget
	reserve *backpressure.Budget
	groups  []group
	shards  *shards // the sharded group, nil where there is none
	// mask has the bits of the lossless groups.
	mask uint32
	need uint64 // bytes of free disk
	// lent counts the holds of latest groups by slot.
	lent []uint8
	// head names the first of each group: who creates and completes the store, who combines.
	head []string
	// resumed is set for a run that an acquire before began.
	resumed bool
	// away are the members that died without having failed, by name.
	away map[string]absence
	// created is set once a primary writer has made the store.
	created bool
	path    string
	events  [][]byte // for events.jsonl, until there is a writer
	latency latencies
	next    uint64 // every frame below it was offered or lost
	ended   bool
	drained chan struct{}
	finish  *link.Finish
	asked   *member // who was told of finish
	done    chan link.Finished

	failure  string // of the last required member
	diskFull bool
	lostAll  chan struct{} // closed when a required group can take no more frames
	full     chan struct{} // closed when a writer's disk is full
	// errors counts the writers that ended by an error of their disk since a frame became durable; broken is closed when
	// there were too many.
	errors     int
	broken     chan struct{}
	lostToDisk bool
}

// absence is a member that died and may come back.
type absence struct {
	group int
	since time.Time
}

// free gives bytes back to the budget. It runs without the dispatcher's mutex: the budget's watchers may look.
func (r *runState) free(n int64) {
	if err := r.budget.Release(n); err != nil {
		r.d.cfg.Logger.Error("account of the budget is wrong", "error", err)
	}
}

// arm tells a member of the run.
func (r *runState) arm(m *member) {
	if r.head[m.group] == "" {
		r.head[m.group] = m.name
	}
	if m.armed != r.spec.Run {
		m.armed, m.ready, m.ended = r.spec.Run, false, false
	}
	r.tell(m, frames.KindArmed, link.Armed{
		Spec: r.spec, Slab: r.slab.Path(), Policy: r.d.cfg.Groups[m.group].Policy,
		Primary: r.head[m.group], Resumed: r.created, NeedBytes: r.need, Clock: r.slab.Clock(),
	})
}

func (r *runState) tell(m *member, kind frames.Kind, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		r.d.cfg.Logger.Error("message lost", "kind", kind, "error", err)
		return
	}
	m.out.message(kind, text)
}

// rehead names another first of a group whose first is gone, or leaves while others stay, and tells the group.
func (r *runState) rehead(g int) {
	var first *member
	var rest []*member
	for _, m := range r.d.members {
		switch {
		case m.group != g || m.failed != "" || m.excused:
		case m.name == r.head[g] && m.stays():
			return
		case m.name == r.head[g]:
			first = m
			fallthrough
		case !m.gone:
			rest = append(rest, m)
		}
	}
	slices.SortFunc(rest, func(a, b *member) int {
		switch {
		case a.stays() == b.stays():
			return a.joined.Compare(b.joined)
		case a.stays():
			return -1
		}
		return 1
	})
	if first != nil && !rest[0].stays() {
		return // nobody else is better
	}
	r.head[g] = ""
	if len(rest) == 0 {
		return
	}
	r.head[g] = rest[0].name
	for _, m := range rest {
		if !m.gone {
			r.arm(m)
		}
	}
}

func (r *runState) account(outcome frames.State, n uint64) {
	if outcome.Lost() {
		r.slab.Account(outcome, n)
		return
	}
	r.slab.Account(frames.Durable, n)
	r.slab.SetTally(slab.DurableNS, r.slab.Clock().Now())
	r.errors = 0
}

// let takes a lossless group's hold off a slot and returns the bytes that the budget gets.
func (r *runState) let(slot, g int) int64 {
	if r.slab.Let(slot, g) != 0 {
		return 0
	}
	if r.lent[slot] == 0 {
		r.slab.Free(slot)
	}
	return int64(r.slab.Stride())
}

// holdLatest and letLatest count what latest groups hold of a slot.
func (r *runState) holdLatest(slot int) { r.lent[slot]++ }

func (r *runState) letLatest(slot int) {
	r.lent[slot]--
	if rec, err := r.slab.Record(slot); err == nil && r.lent[slot] == 0 && rec.Holders == 0 {
		r.slab.Free(slot)
	}
}

// returnLoan takes a frame back from a latest member: the unit of the reserve, and the slot.
func (r *runState) returnLoan(slot int) {
	if err := r.reserve.Release(int64(r.slab.Stride())); err != nil {
		r.d.cfg.Logger.Error("account of the reserve is wrong", "error", err)
	}
	r.letLatest(slot)
}

// inOrder sorts slots by the seq of their frames.
func (r *runState) inOrder(slots []int) []int {
	slices.SortFunc(slots, func(a, b int) int {
		ra, _ := r.slab.Record(a)
		rb, _ := r.slab.Record(b)
		return cmp.Compare(ra.Seq, rb.Seq)
	})
	return slots
}

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
	// created is set once a primary writer has made the store.
	created bool
	path    string
	events  [][]byte // for events.jsonl, until there is a writer
	ended   bool
	drained chan struct{}
	finish  *link.Finish
	done    chan link.Finished

	released map[string]uint64 // frames by group
	durable  uint64
	lost     map[frames.State]uint64 // settled
	lastNS   int64                   // host time of the newest durable frame's release
	restarts int
	failure  string // of the last required member
	diskFull bool
	lostAll  chan struct{} // closed when a required group can take no more frames
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
		m.armed, m.ready = r.spec.Run, false
	}
	r.tell(m, frames.KindArmed, link.Armed{
		Spec: r.spec, Slab: r.slab.Path(), Policy: r.d.cfg.Groups[m.group].Policy,
		Primary: r.head[m.group], Resumed: r.created, NeedBytes: r.need,
	})
}

// claim confirms the shards that a member still owns from before acquire was restarted.
func (r *runState) claim(m *member) {
	if r.shards != nil && m.group == r.shards.g && m.claimed == r.spec.Run {
		r.shards.claim(m)
	}
}

func (r *runState) tell(m *member, kind frames.Kind, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		r.d.cfg.Logger.Error("message lost", "kind", kind, "error", err)
		return
	}
	m.out.message(kind, text)
}

// rehead names another first of a group whose first is gone, and tells the group.
func (r *runState) rehead(g int) {
	var rest []*member
	for _, m := range r.d.members {
		if m.group == g && m.failed == "" {
			if m.name == r.head[g] {
				return
			}
			rest = append(rest, m)
		}
	}
	r.head[g] = ""
	if len(rest) == 0 {
		return
	}
	slices.SortFunc(rest, func(a, b *member) int { return a.joined.Compare(b.joined) })
	r.head[g] = rest[0].name
	for _, m := range rest {
		r.arm(m)
	}
}

// answered takes a member's word on the run.
func (r *runState) answered(m *member, a link.Ready) {
	if a.Run != r.spec.Run {
		r.d.stale++
		return
	}
	m.answer = a
	if a.Error != "" {
		m.ready, m.failed = false, a.Error
		r.d.note(Fact{Kind: MemberRefused, Member: m.name, Reason: a.Error})
		r.groups[m.group].gone(m)
		r.failure = a.Error
		r.d.change()
		r.check()
		return
	}
	first := !m.ready
	m.ready = true
	if r.d.cfg.Groups[m.group].Sharded && m.name == r.head[m.group] {
		r.created, r.path = true, a.Path
		for _, e := range r.events {
			m.out.message(frames.KindEvent, e)
		}
		r.events = nil
		if r.finish != nil {
			r.tell(m, frames.KindFinish, r.finish)
		}
	}
	if first {
		r.groups[m.group].ready(m)
	}
	if r.ended {
		r.tell(m, frames.KindEnd, link.End{Run: r.spec.Run, Captured: r.slab.Captured()})
	}
	r.d.change()
}

// release takes a frame back. It returns the bytes that the budget gets.
func (r *runState) release(m *member, rel frames.Release) (int64, bool) {
	slot := int(rel.Slot)
	g := r.d.cfg.Groups[m.group]
	// A latest group looks at its loan alone: the slot may have been reclaimed and hold another frame.
	if g.Policy == link.Lossless {
		rec, err := r.slab.Record(slot)
		if err != nil || rec.Seq != rel.Seq || rec.Generation != rel.Generation {
			return 0, false
		}
	}
	if !r.groups[m.group].release(m, rel) {
		return 0, false
	}
	r.released[g.Name]++
	if g.Sharded {
		r.account(rel.Outcome, 1)
	}
	if g.Policy != link.Lossless {
		return 0, true
	}
	return r.let(slot, m.group), true
}

func (r *runState) account(outcome frames.State, n uint64) {
	if outcome.Lost() {
		r.lost[outcome] += n
		return
	}
	r.durable += n
	r.lastNS = time.Now().UnixNano()
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

// settle takes a loss that is in the ledger. Frames of the range that were still in the slab are let go.
func (r *runState) settle(m *member, rec frames.LossRecord) int64 {
	if r.shards == nil || m.group != r.shards.g {
		return 0
	}
	l, ok := r.shards.settle(m, rec)
	if !ok {
		r.d.stale++
		return 0
	}
	r.account(l.Reason, l.Count)
	r.d.note(Fact{Kind: FramesLost, Member: m.name, Loss: l})
	var freed int64
	if sh := r.shards.open[r.spec.Shard(l.Seq)]; sh != nil {
		for seq, slot := range sh.slots {
			if seq >= l.Seq && seq < l.End() {
				delete(sh.slots, seq)
				m.outstanding--
				freed += r.let(slot, m.group)
			}
		}
	}
	return freed
}

func (r *runState) seal(m *member, a frames.Assignment) bool {
	if r.shards == nil || m.group != r.shards.g || !r.shards.seal(m, a) {
		return false
	}
	r.d.note(Fact{
		Kind: ShardSealed, Member: m.name, Shard: a.Shard, Epoch: a.Epoch,
		ReadableUntil: min(r.slab.Sealed()*r.spec.ShardFrames, r.slab.Captured()),
	})
	return true
}

// failed takes a member's word that it cannot go on: its frames go to others.
func (r *runState) failed(m *member, f link.Failed) {
	if f.Run != r.spec.Run || m.failed != "" {
		return
	}
	r.d.note(Fact{Kind: MemberFailed, Member: m.name, Reason: f.Error})
	m.failed, r.failure, r.diskFull = f.Error, f.Error, r.diskFull || f.DiskFull
	r.groups[m.group].gone(m)
	r.rehead(m.group)
	r.d.change()
	r.check()
}

// complete takes the answer to Finish.
func (r *runState) complete(f link.Finished) {
	if f.Run != r.spec.Run || r.finish == nil {
		return
	}
	select {
	case r.done <- f:
	default: // a repeat
	}
}

// check looks whether the run has drained, and whether a required group is beyond hope.
func (r *runState) check() {
	for i, g := range r.d.cfg.Groups {
		if g.Required > 0 && r.created && r.failure != "" && !r.hope(i) {
			select {
			case <-r.lostAll:
			default:
				close(r.lostAll)
			}
		}
	}
	if !r.ended {
		return
	}
	for _, g := range r.groups {
		if !g.quiet() {
			return
		}
	}
	select {
	case <-r.drained:
	default:
		close(r.drained)
	}
}

// hope reports whether a group has a member that has not failed, or none at all: one that died comes back.
func (r *runState) hope(g int) bool {
	n := 0
	for _, m := range r.d.members {
		if m.group == g {
			if n++; m.failed == "" {
				return true
			}
		}
	}
	return n == 0
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

// load takes up what a killed acquire left in the slab.
func (r *runState) load() int64 {
	var slots []int
	r.slab.Held(func(slot int, _ slab.Record) { slots = append(slots, slot) })
	for _, slot := range r.inOrder(slots) {
		rec, _ := r.slab.Record(slot)
		for i, g := range r.groups {
			if rec.Holders&r.mask&(1<<i) != 0 {
				g.offer(slot, rec)
			}
		}
	}
	if r.shards != nil {
		for entry, l := range r.slab.Losses() {
			sh := r.shards.shard(r.spec.Shard(l.Seq))
			sh.loss = append(sh.loss, &loss{Loss: l, entry: entry})
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

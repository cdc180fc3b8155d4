package dispatch

import (
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The bounds of a member's words, in bytes.
const (
	maxReason = 1024
	maxPath   = 4096
)

// answered takes a member's word on the run.
func (r *runState) answered(m *member, a link.Ready) {
	if a.Run != r.spec.Run {
		r.d.stale()
		return
	}
	a.Error = refusal.Clip(a.Error, maxReason)
	if len(a.Path) > maxPath {
		r.d.cfg.Refusals.Note(refusal.Message, fmt.Errorf("%w: a path of %d bytes", link.ErrProtocol, len(a.Path)), "member", m.name)
		return
	}
	if a.Carrier != "" && a.Carrier != link.SharedMemory && a.Carrier != link.JetStream {
		r.d.cfg.Refusals.Note(refusal.Message, fmt.Errorf("%w: a carrier of %d bytes", link.ErrProtocol, len(a.Carrier)), "member", m.name)
		return
	}
	m.answer = a
	if a.Error != "" {
		m.ready, m.failed = false, a.Error
		r.d.note(Fact{Kind: MemberRefused, Member: m.name, Reason: a.Error})
		if r.d.cfg.Groups[m.group].vital() {
			r.failure = a.Error
		}
		r.out(m)
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
	}
	if first {
		r.groups[m.group].ready(m)
	}
	r.check()
	r.askFinish()
	r.d.change()
}

// out takes a member that can't go on out of the run: what it had goes to others.
func (r *runState) out(m *member) {
	r.groups[m.group].gone(m)
	r.rehead(m.group)
	r.advance(time.Now())
	r.d.change()
}

// release takes a frame back at now, on the run's clock. It returns the bytes that the budget gets, and the frame's record.
func (r *runState) release(m *member, rel frames.Release, now int64) (freed int64, rec slab.Record, ok bool) {
	slot := int(rel.Slot)
	g := r.d.cfg.Groups[m.group]
	if g.Sharded && rel.Outcome == frames.Absent { // it says of a frame neither that it is durable nor that it is lost
		return 0, rec, false
	}
	// The group knows whose frame it is: only then the slot is still that frame's and not being filled anew.
	if !r.groups[m.group].release(m, rel) {
		return 0, rec, false
	}
	r.slab.AddReleased(m.group, 1)
	if g.Sharded {
		r.account(rel.Outcome, 1)
	}
	if g.Policy != link.Lossless {
		return 0, rec, true
	}
	rec, _ = r.slab.Record(slot)
	if freed = r.let(slot, m.group); freed > 0 && !rel.Outcome.Lost() {
		r.latency.add(rec, now)
		r.d.times.Add(time.Duration(now - rec.HostNS))
	}
	return freed, rec, true
}

// releases takes frames back. Those that could not be written are told as ranges.
func (r *runState) releases(m *member, rels []frames.Release) (freed int64) {
	var lost []frames.Loss
	now := r.slab.Clock().Now()
	for _, rel := range rels {
		n, rec, ok := r.release(m, rel, now)
		freed += n
		if !ok {
			r.d.stale()
			continue
		}
		if !rel.Outcome.Lost() {
			continue
		}
		l := frames.Loss{
			Seq: rel.Seq, Count: 1, FirstFrameID: rec.FrameID, LastFrameID: rec.FrameID, FirstNS: now, LastNS: now,
			Reason: rel.Outcome, Stage: frames.AtWriter,
		}
		if last := len(lost) - 1; last >= 0 && l.Follows(lost[last]) {
			lost[last] = l.Join(lost[last])
		} else {
			lost = append(lost, l)
		}
	}
	for _, l := range lost {
		r.d.note(Fact{Kind: FramesLost, Member: m.name, Loss: l})
	}
	return freed
}

// matches reports whether a release is of the frame that lies in its slot. The slot is held: nobody fills it now.
func (r *runState) matches(rel frames.Release) bool {
	rec, err := r.slab.Record(int(rel.Slot))
	return err == nil && rec.Seq == rel.Seq && rec.Generation == rel.Generation
}

// settle takes a loss that is in the ledger. Frames of the range that were still in the slab are let go.
func (r *runState) settle(m *member, rec frames.LossRecord) int64 {
	if r.shards == nil || m.group != r.shards.g {
		return 0
	}
	l, ok := r.shards.settle(m, rec)
	if !ok {
		if rec.Stage == frames.AtWriter && r.shards.damaged(m, rec) { // found when it took the shard over
			r.account(rec.Reason, rec.Count)
			r.d.note(Fact{Kind: FramesLost, Member: m.name, Loss: rec.Loss})
			return 0
		}
		r.d.stale()
		return 0
	}
	r.d.note(Fact{Kind: FramesLost, Member: m.name, Loss: l})
	var freed int64
	var let uint64
	sh := r.shards.open[r.spec.Shard(l.Seq)]
	for seq, slot := range sh.slots {
		if seq >= l.Seq && seq < l.End() {
			let++
			delete(sh.slots, seq)
			m.outstanding--
			freed += r.let(slot, m.group)
		}
	}
	if givenUp(l) {
		r.account(l.Reason, let) // the others became durable meanwhile
	} else {
		r.account(l.Reason, l.Count)
	}
	return freed
}

// givenUp reports whether a range is of frames that were in the slab, rather than of ones that never came there.
func givenUp(l frames.Loss) bool { return l.Stage == frames.AtWriter }

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

// maxDiskErrors is how many writers may end by an error of their disk, without a frame that becomes durable, before it
// counts as broken. It is less than the lives that a supervisor gives to one: somebody must write the ledger.
const maxDiskErrors = 4

// failed takes a member's word that it cannot go on: its frames go to others. One whose disk is full stays, to ledger
// what it has no room for, and the run is to end. One whose disk has answered with an error is about to end.
func (r *runState) failed(m *member, f link.Failed) {
	if f.Run != r.spec.Run || m.failed != "" {
		return
	}
	f.Error = refusal.Clip(f.Error, maxReason)
	r.d.note(Fact{Kind: MemberFailed, Member: m.name, Reason: f.Error})
	g := r.d.cfg.Groups[m.group]
	if g.vital() {
		r.failure = f.Error
	}
	if !g.Sharded { // it has no disk
		f.DiskFull, f.Broken = false, false
	}
	if f.DiskFull && !r.diskFull {
		r.diskFull = true
		close(r.full)
	}
	if f.Broken {
		if r.errors++; r.errors == maxDiskErrors && !r.lostToDisk {
			r.lostToDisk = true
			close(r.broken)
		}
		return
	}
	if f.DiskFull && len(f.Shards) > 0 {
		return
	}
	m.ready, m.failed = false, f.Error
	r.out(m)
}

// finished takes a member's word that it is done with the run: the primary writer's answer to Finish, or that a member
// without shards has its last result out.
func (r *runState) finished(m *member, f link.Finished) {
	switch {
	case f.Run == r.spec.Run && !r.d.cfg.Groups[m.group].Sharded:
		m.finished = f.Run
		r.d.change()
	case f.Run == r.spec.Run && r.finish != nil && m == r.asked:
		select {
		case r.done <- f:
		default: // a repeat
		}
	default:
		r.d.stale()
	}
}

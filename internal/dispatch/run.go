package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// RunConfig is what a run brings.
type RunConfig struct {
	Slab *slab.Slab
	// Budget counts the slots that lossless groups hold, Reserve those that latest groups hold besides: its
	// limit must leave one unit more than the frames that may be in members' hands.
	Budget, Reserve *backpressure.Budget
	// NeedBytes is the free disk that the run will need, 0 where that is not to be asked for.
	NeedBytes uint64
	// Resumed is set when the slab was left by a killed acquire.
	Resumed bool
	// Grace is how long a resumed run waits for members to come back with their claims before what they had
	// goes to others.
	Grace time.Duration
}

// Arm offers a run to the members, and returns when each group has as many as it requires and everyone who is there
// has answered. The error wraps ErrNoMember, ErrRefused, ErrRefusedUsage or the context's; the run is then
// closed again.
func (d *Dispatcher) Arm(ctx context.Context, c RunConfig) error {
	if c.Resumed && c.Grace > 0 {
		select {
		case <-time.After(c.Grace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := d.begin(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.JoinTimeout)
	defer cancel()
	for {
		d.mu.Lock()
		err := d.run.agreed()
		changed := d.changed
		d.mu.Unlock()
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrRefusedUsage) {
			d.CloseRun()
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if !c.Resumed {
				d.CloseRun()
			}
			return fmt.Errorf("%w after %s", err, d.cfg.JoinTimeout)
		}
	}
}

func (d *Dispatcher) begin(c RunConfig) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run != nil {
		return fmt.Errorf("%w: %s", ErrBusy, d.run.spec.Run)
	}
	r := &runState{
		d: d, spec: c.Slab.Spec(), slab: c.Slab, budget: c.Budget, reserve: c.Reserve,
		lent: make([]uint8, c.Slab.Slots()), head: make([]string, len(d.cfg.Groups)),
		created: c.Resumed, need: c.NeedBytes, drained: make(chan struct{}), done: make(chan link.Finished, 1),
		released: map[string]uint64{}, lost: map[frames.State]uint64{}, lostAll: make(chan struct{}),
	}
	for i, g := range d.cfg.Groups {
		switch {
		case g.Sharded:
			r.shards = newShards(r, i)
			r.groups = append(r.groups, r.shards)
		case g.Policy == link.Lossless:
			r.groups = append(r.groups, newPool(r, i))
		default:
			r.groups = append(r.groups, newLatest(r, i))
		}
		if g.Policy == link.Lossless {
			r.mask |= 1 << i
		}
	}
	d.run = r
	if c.Resumed {
		if n := r.load(); n > 0 {
			if err := r.budget.TryAcquire(n); err != nil {
				d.run = nil
				return fmt.Errorf("take up the frames in the slab: %w", err)
			}
		}
	}
	for _, m := range d.members {
		m.ready, m.failed, m.outstanding = false, "", 0
		r.claim(m) // all claims before anybody is ready and takes what nobody owns
	}
	for _, m := range d.members {
		r.arm(m)
	}
	return nil
}

// agreed is nil when the run can begin. An error wrapping ErrNoMember may pass.
func (r *runState) agreed() error {
	for i, g := range r.d.cfg.Groups {
		ready, pending := 0, ""
		for _, m := range r.d.members {
			if m.group != i {
				continue
			}
			switch {
			case m.failed != "" && g.Required > 0 && m.answer.Usage:
				return fmt.Errorf("%w: %s", ErrRefusedUsage, m.failed)
			case m.failed != "" && g.Required > 0:
				return fmt.Errorf("%w by %s: %s", ErrRefused, m.name, m.failed)
			case m.ready:
				ready++
			case m.failed == "":
				pending = m.name
			}
		}
		if pending != "" {
			return fmt.Errorf("%w: %s %s has not answered", ErrNoMember, g.Name, pending)
		}
		if ready < g.Required {
			return fmt.Errorf("%w: %d of %d %s processes have joined", ErrNoMember, ready, g.Required, g.Name)
		}
	}
	return nil
}

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
		if rest.Count == 0 {
			return rest, nil
		}
		l = rest
	}
}

// End says that the camera's last frame was offered. Drained tells when everything is released.
func (d *Dispatcher) End() {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	r.ended = true
	for _, m := range d.members {
		if m.ready {
			r.tell(m, frames.KindEnd, link.End{Run: r.spec.Run, Captured: r.slab.Captured()})
		}
	}
	r.check()
}

// Drained is closed when every frame is released, every loss settled and every shard sealed.
func (d *Dispatcher) Drained() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.drained
}

// Hopeless is closed when a required group can take no more frames; Failure says why.
func (d *Dispatcher) Hopeless() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.lostAll
}

// Failure is the last member's reason for not going on, and whether its disk is full.
func (d *Dispatcher) Failure() (reason string, diskFull bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run.failure, d.run.diskFull
}

// GiveUp ledgers every frame that the sharded group has not released, and takes the frames from the other groups:
// the drain's deadline is over. Frames that become durable meanwhile stay so.
func (d *Dispatcher) GiveUp(reason frames.State) error {
	d.mu.Lock()
	r := d.run
	now := time.Now().UnixNano()
	var freed int64
	defer func() {
		d.mu.Unlock()
		if freed > 0 {
			r.free(freed)
		}
	}()
	var slots []int
	r.slab.Held(func(slot int, _ slab.Record) { slots = append(slots, slot) })
	for _, slot := range r.inOrder(slots) {
		rec, _ := r.slab.Record(slot)
		for i := range r.groups {
			if p, ok := r.groups[i].(*pool); ok && rec.Holders&(1<<i) != 0 {
				if m := p.owner[slot]; m != nil {
					m.outstanding--
				}
				delete(p.owner, slot)
				freed += r.let(slot, i)
			}
		}
		if r.shards != nil && rec.Holders&(1<<r.shards.g) != 0 {
			l := frames.Loss{
				Seq: rec.Seq, Count: 1, FirstFrameID: rec.FrameID, LastFrameID: rec.FrameID,
				FirstNS: now, LastNS: now, Reason: reason, Stage: frames.AtWriter,
			}
			if _, err := r.lose(l); err != nil {
				return fmt.Errorf("give frame %d up: %w", rec.Seq, err)
			}
		}
	}
	for i := range r.groups {
		if p, ok := r.groups[i].(*pool); ok {
			p.orphan = nil
		}
	}
	r.check()
	return nil
}

// Finish has the primary writer complete the store, and returns its account. It waits for another primary when one
// dies. Without a sharded group it returns the summary as it is.
func (d *Dispatcher) Finish(ctx context.Context, s run.Summary) (run.Summary, error) {
	d.mu.Lock()
	r := d.run
	if r.shards == nil {
		d.mu.Unlock()
		return s, nil
	}
	r.finish = &link.Finish{Run: r.spec.Run, Summary: s}
	for _, m := range d.members {
		if m.name == r.head[r.shards.g] && m.ready {
			r.tell(m, frames.KindFinish, r.finish)
		}
	}
	d.mu.Unlock()
	select {
	case f := <-r.done:
		if f.Error != "" {
			return s, fmt.Errorf("%w: %s", ErrFinish, f.Error)
		}
		return f.Summary, nil
	case <-ctx.Done():
		return s, fmt.Errorf("%w: %w", ErrFinish, ctx.Err())
	}
}

// CloseRun ends the run for every member. The slab may go after it.
func (d *Dispatcher) CloseRun() {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	if r == nil {
		return
	}
	for _, m := range d.members {
		if m.armed == r.spec.Run {
			r.tell(m, frames.KindClosed, link.Closed{Run: r.spec.Run})
			m.armed, m.ready = frames.RunID{}, false
		}
	}
	d.run = nil
}

// Event hands one line for events.jsonl to the primary writer.
func (d *Dispatcher) Event(line []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	if r == nil || r.shards == nil {
		return
	}
	for _, m := range d.members {
		if m.ready && m.name == r.head[r.shards.g] {
			m.out.message(frames.KindEvent, line)
			return
		}
	}
	const most = 4096
	if len(r.events) < most {
		r.events = append(r.events, line)
	}
}

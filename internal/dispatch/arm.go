package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
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

// Arm offers a run to the members. It returns when each group has as many as it requires and everyone who is there
// has answered; those that are hung, or do not answer in time, are not waited for where there are enough without
// them. The error wraps ErrNoMember, ErrRefused, ErrRefusedUsage or the context's; the run is then closed again.
func (d *Dispatcher) Arm(ctx context.Context, c RunConfig) error {
	if c.Resumed && c.Grace > 0 {
		select {
		case <-time.After(c.Grace):
		case <-ctx.Done():
			return fmt.Errorf("arm: %w", context.Cause(ctx))
		}
	}
	r, err := d.begin(c)
	if err != nil {
		return err
	}
	late := time.NewTimer(d.cfg.JoinTimeout)
	defer late.Stop()
	for {
		d.mu.Lock()
		pending, err := r.agreed()
		changed := d.changed
		d.mu.Unlock()
		switch {
		case err == nil && !pending:
			return nil
		case err != nil && !errors.Is(err, ErrNoMember):
			d.close(r)
			return err
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			err = fmt.Errorf("arm: %w", context.Cause(ctx))
		case <-late.C:
			if err == nil {
				return nil
			}
			err = fmt.Errorf("%w after %s", err, d.cfg.JoinTimeout)
		}
		d.close(r)
		return err
	}
}

func (d *Dispatcher) begin(c RunConfig) (*runState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run != nil {
		return nil, fmt.Errorf("%w: %s", ErrBusy, d.run.spec.Run)
	}
	r := &runState{
		d: d, spec: c.Slab.Spec(), slab: c.Slab, budget: c.Budget, reserve: c.Reserve,
		lent: make([]uint8, c.Slab.Slots()), head: make([]string, len(d.cfg.Groups)),
		resumed: c.Resumed, away: map[string]absence{}, created: c.Resumed && c.Slab.Captured() > 0, need: c.NeedBytes,
		drained: make(chan struct{}), done: make(chan link.Finished, 1), lostAll: make(chan struct{}), full: make(chan struct{}),
		broken: make(chan struct{}), latency: newLatencies(),
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
				return nil, fmt.Errorf("take up the frames in the slab: %w", err)
			}
		}
	}
	for _, m := range d.members {
		m.ready, m.failed, m.outstanding, m.owned, m.answer = false, "", 0, 0, link.Ready{}
	}
	r.claim(d.members...) // all claims before anybody is ready and takes what nobody owns
	now := time.Now()
	for _, last := range []bool{false, true} { // the first one to be armed leads its group
		for _, m := range d.members {
			if !m.gone && !m.excused && (m.hung(now, d.cfg.Hung) || !m.stays()) == last {
				r.arm(m)
			}
		}
	}
	return r, nil
}

// agreed is nil when each group has as many members as it needs; pending is set while others, who are not hung,
// have not answered. An error wrapping ErrNoMember may pass.
func (r *runState) agreed() (pending bool, err error) {
	now := time.Now()
	for i, g := range r.d.cfg.Groups {
		ready, silent := 0, ""
		var refused error
		for _, m := range r.d.members {
			if m.group != i || m.gone || m.excused {
				continue
			}
			switch {
			case m.failed != "":
				if refused == nil {
					refused = m.refusal()
				}
			case m.ready:
				ready++
			default:
				silent = m.name
				pending = pending || !m.hung(now, r.d.cfg.Hung)
			}
		}
		need := r.needs(g)
		switch {
		case refused != nil && g.Required > 0 && (!r.resumed || ready < need && silent == ""):
			return false, refused
		case ready >= need:
		case silent != "":
			err = fmt.Errorf("%w: %s %s has not answered", ErrNoMember, g.Name, silent)
		default:
			err = fmt.Errorf("%w: %d of %d %s processes have joined", ErrNoMember, ready, need, g.Name)
		}
	}
	return pending, err
}

// needs is how many members of a group must agree. A run that goes on needs one that writes it: it has frames, and the
// others come back when they can.
func (r *runState) needs(g Group) int {
	switch {
	case !r.resumed:
		return g.Required
	case g.Sharded:
		return min(g.Required, 1)
	}
	return 0
}

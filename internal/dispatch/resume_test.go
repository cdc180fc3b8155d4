package dispatch

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestAcquireRestarts: members keep what they claim, everything unreleased is offered again and every loss that no
// ledger has is told again; shards that nobody claims find an owner.
func TestAcquireRestarts(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w1, w2, w3 := h.holder("w1"), h.holder("w2"), h.holder("w3")
	h.arm()
	h.put(3)
	h.skip(1, frames.Missed) // shard 0 is w1's
	h.put(4)                 // 1 is w2's
	h.put(1)
	h.skip(2, frames.Dropped) // 2 is w3's
	h.until("all is out", func() bool {
		return len(w1.Held()) == 3 && len(w2.Held()) == 4 && len(w3.Held()) == 1 && len(w1.Losses()) == 1 && len(w3.Losses()) == 1
	})
	w2.Step(4)
	w1.Step(1)
	h.until("shard 1 is sealed", func() bool { return len(h.told(ShardSealed)) == 1 && h.Account().Durable == 5 })
	before := w1.Shards()[0]
	last := h.slab.Epoch()
	h.down()
	w3.Die()
	h.restart()
	h.resume(2)
	h.until("all is out again", func() bool { return len(w1.Held())+len(w2.Held()) == 3 && len(w1.Losses())+len(w2.Losses()) == 2 })
	if got := w1.Shards()[0]; got != before {
		t.Errorf("shard 0 has epoch %d, w1 claimed %d", got, before)
	}
	if e := w1.Shards()[2] + w2.Shards()[2]; e <= last {
		t.Errorf("shard 2 went on under epoch %d, given out before were %d", e, last)
	}
	for _, w := range []*dispatchtest.Consumer{w1, w2} {
		if a := w.Seen(frames.KindArmed); !a[len(a)-1].Armed.Resumed || a[len(a)-1].Armed.Spec.Run != h.spec.Run {
			t.Errorf("armed with %+v", a)
		}
	}
	if a := h.Account(); a.Captured != 11 || a.InFlight != 3 || a.Durable != 5 || a.Lost[frames.Dropped] != 2 || a.Lost[frames.Missed] != 1 {
		t.Errorf("account %+v", a)
	}
	if g := h.budget.Gauge(); g.Used != 3*4096 {
		t.Errorf("%d bytes in use", g.Used)
	}
	h.checkAccounts()
	h.put(2)
	w1.Answer(frames.Durable)
	w2.Answer(frames.Durable)
	h.drain()
	if a := h.Account(); a.Durable != 10 || a.Lost[frames.Dropped]+a.Lost[frames.Missed] != 3 {
		t.Errorf("account %+v", a)
	}
}

// TestGoesOnWithFewer: a run that has begun needs one writer to go on, whatever it needed to begin, and is not held up
// by one that refuses it.
func TestGoesOnWithFewer(t *testing.T) {
	three := writers
	three.Required = 3
	h := newHost(t, setup{groups: []Group{three, {Name: "analyze", Policy: link.Latest, Required: 1}}, slots: 16, spare: 2})
	w1, w2, w3 := h.holder("w1"), h.holder("w2"), h.holder("w3")
	a := h.viewer("a1", false)
	h.arm()
	h.put(12)
	h.until("all is out", func() bool { return len(w1.Held())+len(w2.Held())+len(w3.Held()) == 12 })
	h.down()
	for _, c := range []*dispatchtest.Consumer{w2, w3, a} {
		c.Die()
	}
	h.restart()
	h.consumer(dispatchtest.Config{Group: "writer", Name: "w4", Disk: h.disk, Refuse: "not here"})
	h.resume(2)
	h.until("one has all", func() bool { return len(w1.Held()) == 12 })
	w1.Answer(frames.Durable)
	h.drain()
}

// raw is a member that says what its test writes.
type raw struct {
	link.Conn
	t *testing.T
	h *host
}

func (h *host) raw(name string, claims ...link.Claim) raw {
	h.t.Helper()
	faults := linktest.NewFaults(h.transport())
	h.t.Cleanup(faults.Close)
	p, err := shm.Announce(h.t.Context(), h.dir, "cam0", name)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.Close() })
	d := link.NewDialer(link.DialerConfig{Transport: faults, Base: "sluice.cam0", Timing: dispatchtest.Timing})
	c, err := d.Dial(h.t.Context(), link.Join{Group: "writer", Name: name, PID: os.Getpid(), Nonce: name, Run: h.spec.Run, Claims: claims})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return raw{c, h.t, h}
}

// agree waits for the run and agrees to it.
func (r raw) agree() {
	r.t.Helper()
	if kind, _, err := r.Receive(r.t.Context()); kind != frames.KindArmed || err != nil {
		r.t.Fatalf("kind %d, %v; want to be armed", kind, err)
	}
	body, err := json.Marshal(link.Ready{Run: r.h.spec.Run, Path: "/x"})
	if err == nil {
		err = r.Send(frames.KindReady, body)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// assigned waits for the next n assignments.
func (r raw) assigned(n int) []frames.Assignment {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), dispatchtest.Patience)
	defer cancel()
	var as []frames.Assignment
	for len(as) < n {
		kind, body, err := r.Receive(ctx)
		if err != nil {
			r.t.Fatalf("%d of %d assignments: %v %+v", len(as), n, err, r.h.told(MemberLost))
		}
		if kind == frames.KindAssign {
			if as, err = frames.DecodeAssignments(as, body); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return as
}

// TestClaims: which claims count after a restart.
func TestClaims(t *testing.T) {
	h := newHost(t, setup{slots: 24})
	h.holder("w1").Die() // epochs 1 … 5 go to members that are no more
	h.until("w1 is gone", func() bool { return len(h.Members()) == 0 })
	w := h.writer("w2")
	h.arm()
	h.put(4)
	h.until("shard 0 is sealed", func() bool { return h.slab.Sealed() == 1 })
	w.Hold()
	h.put(14) // shards 1 … 4
	h.until("all is out", func() bool { return len(w.Held()) == 14 })
	w.Die()
	h.restart()
	a := h.raw("a",
		link.Claim{Shard: 0, Epoch: 1},       // sealed
		link.Claim{Shard: 1, Epoch: 2},       // good
		link.Claim{Shard: 2, Epoch: 99},      // never given out
		link.Claim{Shard: 3, Epoch: 4},       // good
		link.Claim{Shard: 5, Epoch: 5},       // no frame of it was captured
		link.Claim{Shard: 1 << 60, Epoch: 5}, // nonsense
		link.Claim{Shard: 4, Epoch: 0},       // nonsense
		link.Claim{Shard: 3, Epoch: 3},       // twice
		link.Claim{Shard: ^uint64(0), Epoch: 1})
	b := h.raw("b",
		link.Claim{Shard: 1, Epoch: 5}, // an epoch that was given out, for another shard
		link.Claim{Shard: 4, Epoch: 5}) // good
	h.until("both are there", func() bool { return len(h.Members()) == 2 })
	c := h.config()
	c.Resumed = true
	armed := make(chan error, 1)
	go func() { armed <- h.Arm(t.Context(), c) }()
	a.agree()
	// Shard 2 was nobody's. a was there first.
	if got := a.assigned(3); !slices.Equal(got, []frames.Assignment{{Shard: 1, Epoch: 2}, {Shard: 3, Epoch: 4}, {Shard: 2, Epoch: 6}}) {
		t.Errorf("a was given %+v", got)
	}
	b.agree()
	if err := <-armed; err != nil {
		t.Fatal(err)
	}
	if got := b.assigned(1); got[0] != (frames.Assignment{Shard: 4, Epoch: 5}) {
		t.Errorf("b was given %+v", got)
	}
	h.checkAccounts()

	// While acquire lives, only a shard's last owner can claim it, once it is an orphan.
	c2 := h.raw("c", link.Claim{Shard: 1, Epoch: 5}, link.Claim{Shard: 2, Epoch: 1})
	h.until("c is there", func() bool { return len(h.Members()) == 3 })
	if m := h.member("c"); m.HeldFrames != 0 {
		t.Errorf("c holds %+v", m)
	}
	c2.Close()
}

// TestStaleClaim: a writer that was stopped while its shard was given to another has no claim to it, not even before an
// acquire that never saw the other one's.
func TestStaleClaim(t *testing.T) {
	h := newHost(t, setup{})
	h.holder("w1").Die() // it is stopped with shard 0 and epoch 1: its claim comes below
	h.until("w1 is gone", func() bool { return len(h.Members()) == 0 })
	w := h.holder("w2")
	h.arm()
	h.put(3)
	h.until("all is out", func() bool { return len(w.Held()) == 3 })
	w.Die()
	h.restart()
	w = h.writer("w3") // has it from this acquire under epoch 2, and makes it durable
	h.resume(1)
	h.until("all is durable", func() bool { return h.Account().Durable == 3 })
	w.Hold()
	h.put(1)
	h.until("the last one is out", func() bool { return len(w.Held()) == 1 })
	w.Die()
	h.restart()
	stale := h.raw("w1", link.Claim{Shard: 0, Epoch: 1})
	h.until("it is back", func() bool { return len(h.Members()) == 1 })
	c := h.config()
	c.Resumed = true
	armed := make(chan error, 1)
	go func() { armed <- h.Arm(t.Context(), c) }()
	stale.agree()
	if err := <-armed; err != nil {
		t.Fatal(err)
	}
	if got := stale.assigned(1); got[0] != (frames.Assignment{Shard: 0, Epoch: 3}) {
		t.Errorf("given %+v, want the shard under a new epoch", got)
	}
	h.CloseRun()
}

// TestPolicyChanged: frames that a group held in a run's first part are free when it is not lossless any more.
func TestPolicyChanged(t *testing.T) {
	both := Group{Name: "analyze", Policy: link.Lossless}
	h := newHost(t, setup{groups: []Group{writers, both}, slots: 6})
	w := h.writer("w1")
	h.arm()
	h.put(4)
	h.until("the writer has done them", func() bool { return h.Account().Durable == 4 })
	w.Hold()
	h.put(1)
	h.until("it holds one", func() bool { return len(w.Held()) == 1 })
	h.cfg.groups, h.cfg.spare = []Group{writers, newest}, 2
	h.restart()
	h.resume(1)
	if g := h.budget.Gauge(); g.Used != 4096 {
		t.Errorf("%d bytes in use, want one frame's", g.Used)
	}
	w.Answer(frames.Durable)
	h.put(20)
	h.drain()
}

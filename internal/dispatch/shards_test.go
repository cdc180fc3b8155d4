package dispatch

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// TestShardsHaveOneOwner: shards go round equally, and each frame goes to its shard's owner under one epoch.
func TestShardsHaveOneOwner(t *testing.T) {
	for _, nats := range []bool{false, true} {
		name := map[bool]string{false: "hub", true: "nats"}[nats]
		t.Run(name, func(t *testing.T) {
			h := newHost(t, setup{nats: nats, slots: 48})
			ws := []*dispatchtest.Consumer{h.holder("w1"), h.holder("w2"), h.holder("w3")}
			h.arm()
			h.put(4*12 - 1)
			for _, w := range ws {
				w.Answer(frames.Durable)
			}
			h.drain()
			owners := map[uint64]string{}
			for i, w := range ws {
				epochs := map[uint64]uint64{}
				for _, a := range w.Seen(frames.KindAssign) {
					if a.Epoch != 0 && epochs[a.Seq] == a.Epoch {
						continue // a reminder at the run's end: its seal was still on the way
					}
					if owners[a.Seq] != "" {
						t.Errorf("shard %d was given twice", a.Seq)
					}
					owners[a.Seq] = "w"
					epochs[a.Seq] = a.Epoch
				}
				if len(epochs) != 4 {
					t.Errorf("writer %d was given %d shards, want 4", i, len(epochs))
				}
				got := w.Seen(frames.KindFrames)
				for _, f := range got {
					if !f.Intact || f.Epoch == 0 || f.Epoch != epochs[f.Seq/4] {
						t.Errorf("writer %d was offered frame %d under epoch %d, intact %v; its shard has %d", i, f.Seq, f.Epoch, f.Intact, epochs[f.Seq/4])
					}
				}
				if s := seqs(got); !slices.IsSorted(s) {
					t.Errorf("writer %d got frames out of order: %v", i, s)
				}
				if m := h.member([]string{"w1", "w2", "w3"}[i]); m.Redelivered != 0 || m.HeldFrames != 0 {
					t.Errorf("writer %d: %+v", i, m)
				}
			}
			if len(owners) != 12 {
				t.Errorf("%d shards were given, want 12", len(owners))
			}
			sealed := h.told(ShardSealed)
			if len(sealed) != 12 || sealed[11].ReadableUntil != 47 {
				t.Errorf("%d shards sealed, the last makes %d frames readable; want 12 and 47", len(sealed), sealed[11].ReadableUntil)
			}
			if a := h.Account(); a.Durable != 47 || a.InFlight != 0 || a.ReadableUntil != 47 || a.StorePath != "/store/x.ome.zarr" || a.Released["writer"] != 47 {
				t.Errorf("account %+v", a)
			}
		})
	}
}

// TestDeathOfAWriter: what it had not released or settled goes to another under a higher epoch, once.
func TestDeathOfAWriter(t *testing.T) {
	h := newHost(t, setup{slots: 12})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(3)
	h.skip(1, frames.Missed) // shard 0 is w1's
	h.put(4)                 // shard 1 is w2's
	h.until("both have all", func() bool { return len(w1.Held()) == 3 && len(w1.Losses()) == 1 && len(w2.Held()) == 4 })
	w1.Step(1)
	h.until("frame 0 is released", func() bool { return h.Account().Durable == 1 })
	if got, want := h.Holder(), (Holding{"writer", "w2", 6 * 4096}); got != want {
		t.Errorf("holder %+v, want %+v", got, want)
	}
	epochs := w1.Shards()
	w1.Die()
	h.until("all is w2's", func() bool { return len(w2.Held()) == 6 && len(w2.Losses()) == 1 })
	if e := w2.Shards()[0]; e <= epochs[0] {
		t.Errorf("shard 0 went on under epoch %d after %d", e, epochs[0])
	}
	if m := h.member("w2"); m.Redelivered != 2 || m.HeldFrames != 6 || m.OldestNS == 0 {
		t.Errorf("w2: %+v", m)
	}
	if lost := h.told(MemberLost); len(lost) != 1 || lost[0].Member != "w1" || lost[0].Frames != 2 {
		t.Errorf("told %+v", lost)
	}
	w2.Answer(frames.Durable)
	h.put(3)
	h.drain()
	if a := h.Account(); a.Durable != 10 || a.Lost[frames.Missed] != 1 || a.Restarts != 0 {
		t.Errorf("account %+v", a)
	}
}

// TestNobodyIsThere: frames wait for a writer that comes later.
func TestNobodyIsThere(t *testing.T) {
	h := newHost(t, setup{})
	w := h.holder("w1")
	h.arm()
	h.put(2)
	w.Die()
	h.until("w1 is gone", func() bool { return len(h.Members()) == 0 })
	h.put(3)
	h.skip(2, frames.Dropped)
	if m := h.Account(); m.InFlight != 5 || m.Lost[frames.Dropped] != 2 {
		t.Errorf("account %+v", m)
	}
	h.writer("w1")
	h.drain()
	if r := h.told(MemberRestarted); len(r) != 1 || h.Account().Restarts != 1 {
		t.Errorf("told %+v, restarts %d", r, h.Account().Restarts)
	}
}

// TestRejoin: a member that loses its link keeps its shards and their epochs, while others are there.
func TestRejoin(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(10)
	h.until("all is out", func() bool { return len(w1.Held()) == 6 && len(w2.Held()) == 4 })
	before := w1.Shards()
	if len(before) != 2 {
		t.Fatalf("w1 has the shards %v, want 0 and 2", before)
	}
	w1.Reset()
	h.until("w1 has all again", func() bool { return len(w1.Seen(frames.KindArmed)) == 2 && len(w1.Held()) == 6 })
	h.put(1)
	h.until("w1 goes on", func() bool { return len(w1.Held()) == 7 })
	for shard, epoch := range w1.Shards() {
		if before[shard] != epoch {
			t.Errorf("shard %d has epoch %d after the join, %d before", shard, epoch, before[shard])
		}
	}
	if n := len(w2.Held()); n != 4 {
		t.Errorf("w2 has %d frames", n)
	}
	if a := h.Account(); a.Restarts != 0 || len(h.told(MemberLost, MemberRestarted)) != 0 {
		t.Errorf("account %+v, told %+v", a, h.told(MemberLost, MemberRestarted))
	}
	w1.Answer(frames.Durable)
	w2.Answer(frames.Durable)
	h.drain()
}

// TestLies: nothing that a member says about frames, losses and shards that are not its own has an effect.
func TestLies(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, everyone}, slots: 12})
	w1, w2 := h.holder("w1"), h.holder("w2")
	c := h.consumer(dispatchtest.Config{Group: "copy", Name: "c1", Hold: true})
	h.arm()
	h.put(5)
	h.skip(2, frames.Missed)
	h.until("all is out", func() bool {
		return len(w1.Held()) == 4 && len(w2.Held()) == 1 && len(w2.Losses()) == 1 && len(c.Held()) == 5
	})
	own, other, loss := w1.Held()[0], w2.Held()[0], w2.Losses()[0]
	before := h.Account()
	// Frame.Release would panic when it is called twice for one reference.
	lie := func(m *link.Member, change func(*frames.Offer)) {
		o := own
		change(&o.Offer)
		o.Frame = frames.NewFrame(frames.Header{}, nil, nil, nil)
		m.Release([]link.Offered{o}, frames.Durable)
	}
	liar := w1.Member()
	lie(liar, func(o *frames.Offer) { o.Seq++ })
	lie(liar, func(o *frames.Offer) { o.Generation += 2 })
	lie(liar, func(o *frames.Offer) { o.Epoch++ })
	lie(liar, func(o *frames.Offer) { o.Slot++ })
	lie(liar, func(o *frames.Offer) { o.Slot = 1 << 31 })
	lie(liar, func(o *frames.Offer) { *o = other.Offer })
	lie(liar, func(o *frames.Offer) { o.Seq = 1 << 60 })
	lie(c.Member(), func(o *frames.Offer) { o.Generation++ })
	lie(c.Member(), func(o *frames.Offer) { o.Slot = 11 })
	liar.Settle([]frames.LossRecord{loss})
	for _, change := range []func(*frames.LossRecord){
		func(l *frames.LossRecord) { l.Epoch-- },
		func(l *frames.LossRecord) { l.Count = 1 << 62 },
		func(l *frames.LossRecord) { l.Seq, l.Count = 0, 1<<63 },
		func(l *frames.LossRecord) { l.Count = 1 },
		func(l *frames.LossRecord) { l.Reason = frames.Dropped },
	} {
		l := loss
		change(&l)
		w2.Member().Settle([]frames.LossRecord{l})
	}
	for _, a := range []frames.Assignment{
		{Shard: 0, Epoch: own.Offer.Epoch}, {Shard: 1, Epoch: other.Offer.Epoch}, {Shard: 1, Epoch: own.Offer.Epoch},
		{Shard: 99, Epoch: 1}, {Shard: 1 << 62, Epoch: 1},
	} {
		liar.Seal(a)
		c.Member().Seal(a)
	}
	c.Member().Report(frames.KindFinished, link.Finished{Run: h.spec.Run, Summary: run.Summary{Dtype: frames.Uint8}})
	liar.Report(frames.KindFinished, link.Finished{Run: h.spec.Run, Summary: run.Summary{Dtype: frames.Uint8}})
	liar.Report(frames.KindFailed, link.Failed{Run: frames.NewRunID(), Error: "another run"})
	liar.Report(frames.KindReady, link.Ready{Run: frames.NewRunID(), Error: "another run"})
	liar.Report(frames.KindArmed, "what only acquire says")
	liar.Report(frames.KindReleases, "no releases")
	want := uint64(9 + 6 + 10 + 1 + 1) // a member without shards may have finished; a failure in another run is ignored otherwise
	stale := func() uint64 { return h.Dispatcher.cfg.Refusals.Counts()[refusal.Stale] }
	h.until("every lie came in", func() bool { return stale() >= want })
	h.checkAccounts()
	if a := h.Account(); a.InFlight != before.InFlight || a.Durable != 0 || a.Lost[frames.Missed] != 2 || len(a.Released) != 0 {
		t.Errorf("account %+v", a)
	}
	if n := stale(); n != want {
		t.Errorf("%d lies were ignored, want %d", n, want)
	}
	for _, m := range []*dispatchtest.Consumer{w1, w2, c} {
		m.Answer(frames.Durable)
	}
	h.put(3)
	h.drain()
	if len(h.told(MemberFailed)) != 0 {
		t.Error("the failure in another run counted")
	}
}

// TestSealOfAPart: a shard whose frames have not all come is not sealed, whatever its owner says.
func TestSealOfAPart(t *testing.T) {
	h := newHost(t, setup{})
	w := h.writer("w1")
	h.arm()
	h.put(2)
	h.until("both are durable", func() bool { return h.Account().Durable == 2 })
	w.Member().Seal(frames.Assignment{Shard: 0, Epoch: w.Shards()[0]})
	h.put(4)
	h.drain()
	if s := h.told(ShardSealed); len(s) != 2 || s[0].Shard != 0 || s[1].Shard != 1 {
		t.Errorf("sealed %+v", s)
	}
}

// TestSealedOutOfOrder: the readable prefix grows by whole shards without a hole.
func TestSealedOutOfOrder(t *testing.T) {
	h := newHost(t, setup{slots: 12})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(9)
	h.until("all is out", func() bool { return len(w1.Held()) == 5 && len(w2.Held()) == 4 })
	w2.Answer(frames.Durable)
	h.until("shard 1 is sealed", func() bool { return len(h.told(ShardSealed)) == 1 })
	if f := h.told(ShardSealed)[0]; f.Shard != 1 || f.ReadableUntil != 0 || h.slab.Sealed() != 0 {
		t.Errorf("%+v, sealed up to %d", f, h.slab.Sealed())
	}
	w1.Step(4)
	h.until("shard 0 is sealed", func() bool { return len(h.told(ShardSealed)) == 2 })
	if f := h.told(ShardSealed)[1]; f.Shard != 0 || f.ReadableUntil != 8 || h.slab.Sealed() != 2 {
		t.Errorf("%+v, sealed up to %d", f, h.slab.Sealed())
	}
	w1.Answer(frames.Durable)
	h.drain()
}

// TestHungWriter: it keeps what it has and gets no more shards; when it wakes, it goes on.
func TestHungWriter(t *testing.T) {
	h := newHost(t, setup{slots: 16, hung: 4 * dispatchtest.Timing.Heartbeat})
	w1, w2 := h.holder("w1"), h.writer("w2")
	h.arm()
	h.put(2)
	h.until("w1 has them", func() bool { return len(w1.Held()) == 2 })
	w1.Hang()
	h.until("w1 hangs", func() bool { return h.member("w1").Hung })
	h.put(14)
	// The budget has the room a moment after the account has the frames.
	h.until("w2 has done its own", func() bool { return h.Account().Durable == 12 && h.budget.Gauge().Used <= 4*4096 })
	if m := h.member("w1"); m.HeldFrames != 4 || h.budget.Gauge().Used != 4*4096 {
		t.Errorf("w1 %+v, %d bytes in use", m, h.budget.Gauge().Used)
	}
	w1.Wake()
	h.until("w1 has all of its shard", func() bool { return len(w1.Held()) == 4 })
	w1.Answer(frames.Durable)
	h.drain()
	if n := len(w2.Seen(frames.KindAssign)); n != 3 {
		t.Errorf("w2 was given %d shards, want 3", n)
	}
}

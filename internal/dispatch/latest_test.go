package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func (h *host) viewer(name string, hold bool) *dispatchtest.Consumer {
	h.t.Helper()
	return h.consumer(dispatchtest.Config{Group: "analyze", Name: name, Hold: hold})
}

// TestLatestGetsTheNewest: a member that is busy gets the newest frame when it is done, and the ones between count as
// skipped. The last frame comes to it before the end.
func TestLatestGetsTheNewest(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 8, spare: 2})
	h.writer("w1")
	a := h.viewer("a1", true)
	h.arm()
	h.put(1)
	h.until("it has frame 0", func() bool { return len(a.Held()) == 1 })
	h.put(9)
	h.until("all are durable", func() bool { return h.Account().Durable == 10 })
	h.checkAccounts()
	if g := h.reserve.Gauge(); g.Used != 2*4096 {
		t.Errorf("the reserve has %d bytes in use", g.Used)
	}
	a.Step(1)
	h.until("it has the newest", func() bool { return len(a.Held()) == 1 && a.Held()[0].Offer.Seq == 9 })
	h.put(1)
	h.End()
	h.until("the frames are sealed", func() bool { return h.Account().ReadableUntil == 11 })
	if isClosed(h.Drained()) {
		t.Error("drained while a member reads and the newest frame waits")
	}
	if n := len(a.Seen(frames.KindEnd)); n != 0 {
		t.Error("the end came before the newest frame")
	}
	a.Answer(frames.Durable)
	h.drain()
	h.until("the end has come", func() bool { return len(a.Seen(frames.KindEnd)) == 1 })
	got := a.Seen(frames.KindFrames, frames.KindEnd)
	if s := seqs(got); !slices.Equal(s, []uint64{0, 9, 10, 0}) || got[3].Kind != frames.KindEnd || got[3].End.Captured != 11 {
		t.Errorf("seen %+v", got)
	}
	if acc := h.Account(); acc.Skipped != 8 || acc.Released["analyze"] != 3 || acc.Durable != 11 {
		t.Errorf("account %+v", acc)
	}
}

// TestReserveIsTheLimit: hanging members hold no more than the reserve, the writer goes on with the rest, and frames
// that are held for too long are taken back. A member that wakes up later does not upset the accounts.
func TestReserveIsTheLimit(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 5, spare: 3, reclaim: 50 * time.Millisecond})
	h.writer("w1")
	var as []*dispatchtest.Consumer
	for _, name := range []string{"a1", "a2", "a3", "a4"} {
		as = append(as, h.viewer(name, true))
	}
	h.arm()
	for range 40 {
		h.put(1)
		h.checkAccounts()
		if used := h.reserve.Gauge().Used; used > 3*4096 {
			t.Fatalf("%d bytes of the reserve are in use", used)
		}
	}
	h.until("all four hold a frame that was taken back", func() bool {
		h.put(1)
		h.checkAccounts()
		return len(h.told(Reclaimed)) >= 4
	})
	for _, a := range as {
		if m := h.member(a.Seen(frames.KindArmed)[0].Armed.Primary); m == nil || !m.Primary {
			t.Error("no primary")
		}
		a.Answer(frames.Durable)
	}
	h.put(3)
	h.drain()
	stale := map[bool]int{}
	for _, a := range as {
		for _, s := range a.Seen(frames.KindFrames) {
			stale[s.Intact]++
		}
	}
	if stale[true] < 4 {
		t.Errorf("%v frames were intact", stale)
	}
}

// TestLatestMemberGoes: the frame in its hands is free, the newest goes to another.
func TestLatestMemberGoes(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, newest}, slots: 4, spare: 2})
	h.writer("w1")
	a1 := h.viewer("a1", true)
	a2 := h.viewer("a2", true)
	h.arm()
	h.put(1)
	h.until("one has frame 0", func() bool { return len(a1.Held())+len(a2.Held()) == 1 })
	first, second := a1, a2
	if len(a2.Held()) == 1 {
		first, second = a2, a1
	}
	h.put(2) // for which the reserve has no unit
	if n := len(second.Held()); n != 0 {
		t.Errorf("the other has %d frames, the reserve has room for one", n)
	}
	first.Die()
	h.until("the newest goes to the other", func() bool { return len(second.Held()) == 1 })
	if s := second.Held()[0].Offer.Seq; s != 2 {
		t.Errorf("it has frame %d", s)
	}
	second.Die()
	h.until("both are gone", func() bool { return len(h.Members()) == 1 })
	h.drain()
}

// TestLatestOnly: a run without lossless groups goes on at the camera's pace, with frames held by nobody else.
func TestLatestOnly(t *testing.T) {
	g := newest
	g.Required = 1
	h := newHost(t, setup{groups: []Group{g}, slots: 4, spare: 2})
	a := h.viewer("a1", false)
	h.arm()
	h.put(50)
	h.skip(5, frames.Missed)
	h.until("the newest has come", func() bool { return slices.Contains(seqs(a.Seen(frames.KindFrames)), 49) })
	h.End()
	<-h.Drained()
	h.until("the end has come", func() bool { return len(a.Seen(frames.KindEnd)) == 1 })
	if acc := h.Account(); acc.Captured != 55 || acc.Skipped+acc.Released["analyze"] != 50 || acc.Lost[frames.Missed] != 5 {
		t.Errorf("account %+v", acc)
	}
	if s, err := h.Finish(t.Context(), summary(h, 55)); err != nil || s.Captured != 55 {
		t.Errorf("%+v, %v", s, err)
	}
	if n := h.free(); n != 3 {
		t.Errorf("%d slots are free, want 3 beside the newest frame's", n)
	}
}

// TestPool: a lossless group without shards shares the load, and what a dead member had goes to the others.
func TestPool(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, everyone}, slots: 16})
	h.writer("w1")
	var cs []*dispatchtest.Consumer
	for _, name := range []string{"c1", "c2", "c3"} {
		cs = append(cs, h.consumer(dispatchtest.Config{Group: "copy", Name: name, Hold: true}))
	}
	h.arm()
	h.put(12)
	h.until("all are out", func() bool { return len(cs[0].Held()) == 4 && len(cs[1].Held()) == 4 && len(cs[2].Held()) == 4 })
	h.until("the writer has done them", func() bool { return h.Account().Durable == 12 })
	if got, want := h.Holder(), (Holding{"copy", "c1", 12 * 4096}); got != want {
		t.Errorf("holder %+v, want %+v", got, want)
	}
	h.checkAccounts()
	cs[0].Die()
	h.until("the two have all", func() bool { return len(cs[1].Held()) == 6 && len(cs[2].Held()) == 6 })
	if a, b := h.member("c2"), h.member("c3"); a.Redelivered != 2 || b.Redelivered != 2 {
		t.Errorf("%+v, %+v", a, b)
	}
	cs[1].Die()
	cs[2].Die()
	h.until("nobody is there", func() bool { return len(h.Members()) == 1 })
	h.put(2)
	c4 := h.consumer(dispatchtest.Config{Group: "copy", Name: "c4"})
	h.drain()
	got := seqs(c4.Seen(frames.KindFrames))
	slices.Sort(got)
	for i := range uint64(14) {
		if got[i] != i {
			t.Fatalf("c4 got %v", got)
		}
	}
	if len(got) != 14 || h.Account().Released["copy"] != 14 {
		t.Errorf("c4 got %v; account %+v", got, h.Account())
	}
}

// TestNewGroups: what makes no sense is refused.
func TestNewGroups(t *testing.T) {
	for name, groups := range map[string][]Group{
		"two sharded":    {writers, {Name: "b", Policy: link.Lossless, Sharded: true}},
		"sharded latest": {{Name: "b", Policy: link.Latest, Sharded: true}},
		"too many":       make([]Group, 31),
	} {
		if _, err := New(Config{Groups: groups}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestTurns: members that keep up share the frames, of a latest group and of a lossless one.
func TestTurns(t *testing.T) {
	for name, g := range map[string]Group{"latest": newest, "lossless": {Name: "analyze", Policy: link.Lossless}} {
		t.Run(name, func(t *testing.T) {
			spare := 0
			if g.Policy == link.Latest {
				spare = 2
			}
			h := newHost(t, setup{groups: []Group{writers, g}, slots: 16, spare: spare})
			h.writer("w1")
			members := []*dispatchtest.Consumer{h.viewer("a1", false), h.viewer("a2", false), h.viewer("a3", false)}
			h.arm()
			h.until("all three", func() bool {
				n := 0
				for _, m := range h.Members() {
					if m.Group == "analyze" && m.Ready {
						n++
					}
				}
				return n == 3
			})
			seen := func(c *dispatchtest.Consumer) int { return len(seqs(c.Seen(frames.KindFrames))) }
			for n := 1; n <= 30; n++ {
				h.put(1)
				h.until("the frame is back", func() bool { return h.Account().Released["analyze"] == uint64(n) })
			}
			for i, m := range members {
				if seen(m) != 10 {
					t.Errorf("member %d has had %d frames of 30", i+1, seen(m))
				}
			}
			h.drain()
		})
	}
}

package dispatch

import (
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// left waits until a member is told that the run goes on without it.
func (h *host) left(c *dispatchtest.Consumer, name string) {
	h.t.Helper()
	h.until(name+" may go", func() bool {
		seen := c.Seen(frames.KindClosed)
		return len(seen) == 1 && seen[0].Left
	})
}

// leaving waits until a member is seen to leave.
func (h *host) leaving(c *dispatchtest.Consumer, name string) {
	h.t.Helper()
	c.Leave()
	h.until(name+" leaves", func() bool { return h.member(name).Leaving })
}

// TestWriterLeaves: a writer that leaves completes what it has, gets no shard any more, and goes while the run goes on.
// The store and the events are another's then.
func TestWriterLeaves(t *testing.T) {
	h := newHost(t, setup{slots: 24})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(9) // shard 0 and the begin of shard 2 are w1's
	h.until("all is out", func() bool { return len(w1.Held()) == 5 && len(w2.Held()) == 4 })
	h.leaving(w1, "w1")
	h.until("w2 leads", func() bool { return h.member("w2").Primary })
	h.Event([]byte(`{"n":1}`))
	h.put(7) // the rest of shard 2, and shard 3
	h.until("shard 2 stays", func() bool { return len(w1.Held()) == 8 && len(w2.Held()) == 8 })
	w1.Answer(frames.Durable)
	h.left(w1, "w1")
	w1.Die()
	h.until("w1 is gone", func() bool { return h.member("w1") == nil })
	if told := h.told(MemberLeft, MemberLost); len(told) != 1 || told[0].Kind != MemberLeft || told[0].Member != "w1" {
		t.Errorf("told %+v", told)
	}
	if e := w2.Events(); len(e) != 1 {
		t.Errorf("w2 has the events %q", e)
	}
	w2.Answer(frames.Durable)
	h.put(4)
	h.drain()
	if m := h.member("w2"); m.Redelivered != 0 {
		t.Errorf("%d frames were offered again", m.Redelivered)
	}
}

// TestShardIsHandedOver: a shard that does not fill is taken over from a writer that leaves, with what it has not released.
func TestShardIsHandedOver(t *testing.T) {
	h := newHost(t, setup{slots: 24, over: 200 * time.Millisecond})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(10) // shard 2 is half full
	h.until("all is out", func() bool { return len(w1.Held()) == 6 && len(w2.Held()) == 4 })
	w1.Step(5)
	h.until("5 frames are durable", func() bool { return h.Account().Durable == 5 })
	epoch := w1.Shards()[2]
	w1.Leave()
	h.left(w1, "w1")
	h.until("w2 has the rest", func() bool { return len(w2.Held()) == 5 })
	if e := w2.Shards()[2]; e <= epoch {
		t.Errorf("shard 2 went on under epoch %d after %d", e, epoch)
	}
	w2.Answer(frames.Durable)
	h.put(2)
	h.drain()
}

// TestNewcomerGetsItsShare: a writer that joins late gets half of the shards from then on, and not all until it has had as many.
func TestNewcomerGetsItsShare(t *testing.T) {
	h := newHost(t, setup{})
	h.writer("w1")
	h.arm()
	shards := func(n int) {
		for range n {
			sealed := len(h.told(ShardSealed)) + 1
			h.put(4)
			h.until("the shard is sealed", func() bool { return len(h.told(ShardSealed)) == sealed })
		}
	}
	shards(8)
	h.writer("w2")
	h.until("w2 is ready", func() bool { return h.member("w2").Ready })
	shards(6)
	counts := map[string]int{}
	for _, f := range h.told(ShardSealed)[8:] {
		counts[f.Member]++
	}
	if counts["w1"] != 3 || counts["w2"] != 3 {
		t.Errorf("the next shards are %v, want 3 of each", counts)
	}
	h.drain()
}

// TestLastWriterStays: a writer that leaves alone stays until there is another, and to the end where there is none.
func TestLastWriterStays(t *testing.T) {
	h := newHost(t, setup{slots: 24})
	w1 := h.writer("w1")
	h.arm()
	h.leaving(w1, "w1")
	h.put(12)
	h.until("all is durable", func() bool { return h.Account().Durable == 12 })
	w2 := h.writer("w2")
	h.left(w1, "w1")
	h.put(4)
	h.leaving(w2, "w2")
	h.put(4)
	h.drain()
	if seen := w2.Seen(frames.KindClosed); len(seen) != 0 {
		t.Errorf("w2 was told %+v", seen)
	}
}

// TestAnalysersLeave: one of a lossless group goes when others have its frames, one of a latest group at once.
func TestAnalysersLeave(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, everyone, newest}, slots: 24, spare: 3})
	h.writer("w")
	c1 := h.consumer(dispatchtest.Config{Group: "copy", Name: "c1", Hold: true})
	c2 := h.consumer(dispatchtest.Config{Group: "copy", Name: "c2", Hold: true})
	a := h.consumer(dispatchtest.Config{Group: "analyze", Name: "a"})
	h.arm()
	h.put(6)
	h.until("each has its share", func() bool { return len(c1.Held()) == 3 && len(c2.Held()) == 3 })
	h.leaving(c1, "c1")
	a.Leave()
	h.left(a, "a")
	h.put(3)
	h.until("c2 has the rest", func() bool { return len(c2.Held()) == 6 })
	c1.Answer(frames.Absent)
	h.left(c1, "c1")
	c2.Answer(frames.Absent)
	h.put(2)
	h.drain()
}

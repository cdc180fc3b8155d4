package dispatch

import (
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// captureOld brings a frame into the slab that was captured so long ago.
func (h *host) captureOld(age time.Duration) {
	h.t.Helper()
	if err := h.budget.Acquire(h.t.Context(), int64(h.slab.Stride())); err != nil {
		h.t.Fatal(err)
	}
	slot, ok := h.slab.Take()
	if !ok {
		h.t.Fatal("no slot")
	}
	dispatchtest.Stamp(h.slab.Pixels(slot), h.seq)
	hd := frames.Header{Run: h.spec.Run, Seq: h.seq, FrameID: h.seq + 1000, HostNS: h.slab.Clock().Now() - int64(age)}
	h.seq++
	h.Offer(slot, h.slab.Commit(slot, hd, h.Mask()))
}

// counted is how many frames the latencies are of.
func (h *host) counted() uint64 {
	if l := h.Latency(); l != nil {
		return l.Frames
	}
	return 0
}

// TestLatency: a frame counts when the last lossless group lets it go, with the time since its capture. What is lost does
// not count, and after a restart only what is released from then on.
func TestLatency(t *testing.T) {
	h := newHost(t, setup{groups: []Group{writers, everyone}, k: 100})
	h.writer("w1")
	c := h.consumer(dispatchtest.Config{Group: "copy", Name: "c1", Hold: true})
	if h.Latency() != nil {
		t.Error("latencies without a run")
	}
	h.arm()
	h.captureOld(3 * time.Second)
	h.captureOld(time.Hour)
	h.until("the writer is done", func() bool { return h.Account().Durable == 2 && len(c.Held()) == 2 })
	if l := h.Latency(); l != nil {
		t.Errorf("latencies of frames that are held: %+v", l)
	}
	c.Step(1)
	h.until("one is released", func() bool { return h.counted() == 1 })
	// Two digits: the histogram's value is at most a hundredth beside the true one.
	if l := h.Latency(); l.P50NS < int64(2970*time.Millisecond) || l.P50NS != l.P999NS || l.MaxNS < l.P50NS {
		t.Errorf("%+v of a frame that is three seconds old", l)
	}
	c.Step(1)
	h.until("both are released", func() bool { return h.counted() == 2 })
	if l := h.Latency(); l.MaxNS < longestLatency || l.MaxNS > longestLatency*102/100 {
		t.Errorf("%+v of a frame that is an hour old: the histogram ends at ten minutes", l)
	}
	h.ForgetLatency()
	if l := h.Latency(); l != nil {
		t.Errorf("latencies that were forgotten: %+v", l)
	}

	h.captureOld(2 * time.Minute)
	h.until("the next one is held", func() bool { return len(c.Held()) == 1 })
	h.restart()
	h.resume(2)
	if l := h.Latency(); l != nil {
		t.Errorf("after a restart: %+v", l)
	}
	h.until("it is held again", func() bool { return len(c.Held()) > 0 })
	c.Step(1)
	h.until("it is released", func() bool { return h.counted() == 1 })
	if l := h.Latency(); l.P50NS < int64(118*time.Second) {
		t.Errorf("%+v of a frame that was captured two minutes ago by an acquire before", l)
	}
}

// TestLatencyOfLosses: a frame that could not be written has no time until it was kept.
func TestLatencyOfLosses(t *testing.T) {
	h := newHost(t, setup{})
	w := h.holder("w1")
	h.arm()
	h.put(2)
	h.until("it has both", func() bool { return len(w.Held()) == 2 })
	w.Answer(frames.Unwritten)
	h.until("they are lost", func() bool { return h.Account().Lost[frames.Unwritten] == 2 })
	if l := h.Latency(); l != nil {
		t.Errorf("%+v", l)
	}
}

// TestLatencyAllocatesNothing for any frame.
func TestLatencyAllocatesNothing(t *testing.T) {
	l := newLatencies()
	var now int64
	if n := testing.AllocsPerRun(1000, func() { now += 100_000; l.add(slab.Record{}, now) }); n != 0 {
		t.Errorf("%g allocations for each frame", n)
	}
}

func BenchmarkLatency(b *testing.B) {
	h := newLatencies()
	var now int64
	b.ReportAllocs()
	for b.Loop() {
		now = (now + 1_237_001) % int64(time.Second)
		h.add(slab.Record{}, now)
	}
}

package dispatch

import (
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestHopeless: when the last writer cannot go on, the run is told so; while another can, it is not.
func TestHopeless(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(8)
	h.until("all is out", func() bool { return len(w1.Held()) == 4 && len(w2.Held()) == 4 })
	w1.Fail("disk is broken", false)
	h.until("w2 has all", func() bool { return len(w2.Held()) == 8 })
	if isClosed(h.Hopeless()) {
		t.Fatal("hopeless with a writer left")
	}
	if m := h.member("w1"); m.Failed != "disk is broken" || m.HeldFrames != 0 || m.Primary {
		t.Errorf("w1 %+v", m)
	}
	if !h.member("w2").Primary {
		t.Error("w2 is not the primary")
	}
	w2.Fail("disk is full", true)
	select {
	case <-h.Hopeless():
	case <-time.After(dispatchtest.Patience):
		t.Fatal("not hopeless")
	}
	if why, full := h.Failure(); why != "disk is full" || !full {
		t.Errorf("failure %q, %v", why, full)
	}
	h.CloseRun()
}

// TestOneFailsAnotherDies: a writer that died comes back, and takes what the one that failed can't.
func TestOneFailsAnotherDies(t *testing.T) {
	h := newHost(t, setup{slots: 16})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(8)
	h.until("all is out", func() bool { return len(w1.Held()) == 4 && len(w2.Held()) == 4 })
	w1.Fail("disk is broken", false)
	h.until("w2 has all", func() bool { return len(w2.Held()) == 8 })
	w2.Die()
	h.until("it is gone", func() bool { return h.member("w2") == nil })
	if isClosed(h.Hopeless()) {
		t.Fatal("hopeless with a writer that comes back")
	}
	h.writer("w2")
	h.drain()
	if isClosed(h.Hopeless()) {
		t.Error("hopeless after it came back")
	}
}

// TestOneFailsAnotherStaysAway: beside a writer that failed one that died is waited for only so long.
func TestOneFailsAnotherStaysAway(t *testing.T) {
	h := newHost(t, setup{slots: 16, join: 300 * time.Millisecond})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(8)
	w1.Fail("disk is broken", false)
	h.until("w2 has all", func() bool { return len(w2.Held()) == 8 })
	w2.Die()
	select {
	case <-h.Hopeless():
	case <-time.After(dispatchtest.Patience):
		t.Fatal("not hopeless")
	}
	h.CloseRun()
}

// TestHungGetsNothing: what a writer had that died waits for it to come back, rather than for one that is hung.
func TestHungGetsNothing(t *testing.T) {
	h := newHost(t, setup{slots: 16, hung: 300 * time.Millisecond})
	w1, w2 := h.holder("w1"), h.holder("w2")
	h.arm()
	h.put(8)
	h.until("all is out", func() bool { return len(w1.Held()) == 4 && len(w2.Held()) == 4 })
	w1.Hang()
	h.until("it is hung", func() bool { return h.member("w1").Hung })
	w2.Die()
	h.until("the other is gone", func() bool { return h.member("w2") == nil })
	h.put(4) // of a shard that nobody has
	if m := h.member("w1"); m.HeldFrames != 4 {
		t.Errorf("the hung one has %d frames", m.HeldFrames)
	}
	h.writer("w2")
	h.until("the others are durable", func() bool { return h.Account().Durable == 8 })
	w1.Wake()
	h.until("it is back", func() bool { return !h.member("w1").Hung })
	w1.Answer(frames.Durable)
	h.drain()
}

// TestAllDie: writers that died come back, so there is hope.
func TestAllDie(t *testing.T) {
	h := newHost(t, setup{})
	w := h.holder("w1")
	h.arm()
	h.put(2)
	w.Die()
	h.until("it is gone", func() bool { return len(h.Members()) == 0 })
	if isClosed(h.Hopeless()) {
		t.Error("hopeless")
	}
	h.writer("w2")
	h.drain()
}

// TestAnalysersDoNotEndARun: a latest group costs the writers nothing, also one that the run waited for and whose last member
// says that it can't go on, or that it has a disk which is full.
func TestAnalysersDoNotEndARun(t *testing.T) {
	required := newest
	required.Required = 1
	h := newHost(t, setup{groups: []Group{writers, required}, slots: 8, spare: 2})
	w := h.holder("w1")
	a := h.viewer("a1", false)
	h.arm()
	h.put(3)
	h.until("the writer has all", func() bool { return len(w.Held()) == 3 })
	a.Fail("no more spectra", true)
	h.until("the analyser is out", func() bool { m := h.member("a1"); return m != nil && m.Failed != "" })
	if isClosed(h.Hopeless()) || isClosed(h.DiskFull()) {
		t.Error("the run is told to end")
	}
	if why, full := h.Failure(); why != "" || full {
		t.Errorf("the run's failure is %q, %t", why, full)
	}
	w.Answer(frames.Durable)
	h.drain()
}

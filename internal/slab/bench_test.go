package slab

import (
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// One frame's bookkeeping: no allocation.
func BenchmarkSlot(b *testing.B) {
	s := mustCreate(b, 4096, 16)
	cycle(b, s, 0)
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		cycle(b, s, seq)
	}
}

func cycle(tb testing.TB, s *Slab, seq uint64) {
	slot, ok := s.Take()
	if !ok {
		tb.Fatal("no slot is free")
	}
	s.Commit(slot, frames.Header{Seq: seq, FrameID: seq}, 1)
	if s.Let(slot, 0) == 0 {
		s.Free(slot)
	}
}

func TestSlotAllocatesNothing(t *testing.T) {
	s := mustCreate(t, 4096, 16)
	seq := uint64(0)
	if n := testing.AllocsPerRun(100, func() { cycle(t, s, seq); seq++ }); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

// What it costs to take every page of a slab.
func BenchmarkCreate256MiB(b *testing.B) {
	for b.Loop() {
		s, err := Create(Config{Dir: "/dev/shm", Spec: testSpec(8 << 20), Slots: 32})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

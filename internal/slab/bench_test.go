package slab

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/pairs"
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

// BenchmarkLargePages is what 256 MiB of shared memory cost in large pages, in units of what they cost in small ones:
// to take, map, touch and give back; to write once they are there; and to hand to direct I/O, 8 MiB at a time, mapped
// anew as a writer does.
func BenchmarkLargePages(b *testing.B) {
	const size, frame = 256 << 20, 8 << 20
	b.Run("arm", func(b *testing.B) {
		arm := func(large bool) func() {
			return func() {
				f, mem := shared(b, size, large)
				for at := 0; at < len(mem); at += PageSize {
					mem[at] = 1
				}
				drop(b, f, mem)
			}
		}
		compare(b, arm(true), arm(false))
	})
	b.Run("copy", func(b *testing.B) {
		src := make([]byte, frame)
		write := func(large bool) func() {
			f, mem := shared(b, size, large)
			b.Cleanup(func() { drop(b, f, mem) })
			return func() {
				for at := 0; at < size; at += frame {
					copy(mem[at:], src)
				}
			}
		}
		compare(b, write(true), write(false))
	})
	b.Run("direct", func(b *testing.B) {
		out, err := os.OpenFile(b.TempDir()+"/out", os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		if err := unix.Fallocate(int(out.Fd()), 0, 0, size); err != nil {
			b.Fatal(err)
		}
		write := func(large bool) func() {
			f, mem := shared(b, size, large)
			b.Cleanup(func() { drop(b, f, mem) })
			clear(mem)
			view, err := mapFile(f, size, unix.PROT_READ)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := unmap(view); err != nil {
					b.Error(err)
				}
			})
			return func() {
				for at := 0; at < size; at += frame {
					if _, err := unix.Pwrite(int(out.Fd()), view[at:at+frame], int64(at)); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		compare(b, write(true), write(false))
	})
}

// shared is new shared memory.
func shared(b *testing.B, size int, large bool) (*os.File, []byte) {
	f, err := os.CreateTemp("/dev/shm", "sluice-test-*")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		b.Fatal(err)
	}
	if err := f.Truncate(int64(size)); err != nil {
		b.Fatal(err)
	}
	mem, err := mapFile(f, size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		b.Fatal(err)
	}
	if large {
		enlarge(f, mem)
	}
	if err := allocate(f, mem); err != nil {
		b.Fatal(err)
	}
	return f, mem
}

func drop(b *testing.B, f *os.File, mem []byte) {
	if err := unmap(mem); err != nil {
		b.Error(err)
	}
	f.Close()
}

// compare reports the median of the ratios of the processor's time that large and small pages take.
func compare(b *testing.B, large, small func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	large()
	small()
	m := pairs.Meter{Clock: pairs.ThreadTime}
	for b.Loop() {
		m.Pair(large, small)
	}
	r := m.Result()
	b.ReportMetric(r.Ratio, "ratio")
	b.ReportMetric(r.A*1e3, "large-ms")
	b.ReportMetric(r.B*1e3, "small-ms")
}

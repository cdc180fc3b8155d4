package shm

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// BenchmarkTransport moves frames through the slab to one member, that reads every cache line of them, over a real
// broker. Its limit is measured in the same run, in turns: memcpy over a working set as large as the slab. An
// iteration is one such pair; what is reported is the median over the pairs.
func BenchmarkTransport(b *testing.B) {
	for _, size := range []struct {
		name       string
		frameBytes int
		slabBytes  int
		perTurn    int // bytes that each measurement moves
	}{
		{"8MiB", 8 << 20, 256 << 20, 4 << 30},
		{"256KiB", 256 << 10, 256 << 20, 2 << 30},
		{"4KiB", 4 << 10, 64 << 20, 512 << 20},
	} {
		b.Run(size.name, func(b *testing.B) {
			bench := newBench(b, size.frameBytes, size.slabBytes/size.frameBytes)
			limit := newMemcpy(size.frameBytes, size.slabBytes)
			n := size.perTurn / size.frameBytes
			bench.move(b, n/4)
			limit.move(n / 4)
			var achieved, copied, ratio []float64
			for b.Loop() {
				got := float64(n) / bench.move(b, n).Seconds()
				most := float64(n) / limit.move(n).Seconds()
				achieved, copied, ratio = append(achieved, got), append(copied, most), append(ratio, got/most)
			}
			gb := float64(size.frameBytes) / 1e9
			b.ReportMetric(median(achieved)*gb, "GB/s")
			b.ReportMetric(median(achieved), "frames/s")
			b.ReportMetric(median(copied)*gb, "memcpy-GB/s")
			b.ReportMetric(median(ratio), "of-memcpy")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// memcpy copies one half of a working set into the other, a frame at a time.
type memcpy struct {
	src, dst []byte
	frame    int
}

func newMemcpy(frame, set int) *memcpy {
	m := &memcpy{src: make([]byte, set/2), dst: make([]byte, set/2), frame: frame}
	for i := range m.src {
		m.src[i] = byte(i)
	}
	return m
}

func (m *memcpy) move(n int) time.Duration {
	start := time.Now()
	for i := range n {
		at := i * m.frame % len(m.src)
		copy(m.dst[at:at+m.frame], m.src[at:])
	}
	return time.Since(start)
}

// bench is acquire's side, with a camera that copies one frame again and again, and one member.
type bench struct {
	slab     *slab.Slab
	budget   *backpressure.Budget
	dispatch *dispatch.Dispatcher
	frame    []byte
	seq      uint64
	sum      atomic.Uint64 // of the words that the member has read
}

func newBench(b *testing.B, frameBytes, slots int) *bench {
	broker := newBroker(b)
	const dir = "/dev/shm"
	spec := testSpec(frameBytes, 1)
	spec.Camera = "bench"
	src := newSource(b, dir, spec, slots)
	listener, err := link.Listen(link.ListenerConfig{Transport: link.NATS(broker.connect(b)), Base: "sluice.bench", Groups: []string{"analyze"}})
	if err != nil {
		b.Fatal(err)
	}
	m := &bench{slab: src.slab, frame: make([]byte, frameBytes)}
	for i := range m.frame {
		m.frame[i] = byte(i * 7)
	}
	if m.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(slots * src.slab.Stride())}); err != nil {
		b.Fatal(err)
	}
	m.dispatch, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: []dispatch.Group{{Name: "analyze", Policy: link.Lossless, Required: 1}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var working sync.WaitGroup
	working.Go(func() {
		if err := m.dispatch.Serve(ctx); err != nil {
			b.Error(err)
		}
	})
	member := link.NewMember(link.MemberConfig{
		Dialer:  link.NewDialer(link.DialerConfig{Transport: link.NATS(broker.connect(b)), Base: "sluice.bench", Carrier: "shm"}),
		Carrier: Carrier{Dir: dir}, Join: link.Join{Group: "analyze", Name: "a0"},
	})
	working.Go(func() { m.consume(ctx, b, member) })
	b.Cleanup(func() {
		cancel()
		working.Wait()
		if err := member.Close(); err != nil {
			b.Error(err)
		}
	})
	reserve, err := backpressure.NewBudget(backpressure.Config{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	for start := time.Now(); ; {
		err := m.dispatch.Arm(ctx, dispatch.RunConfig{Slab: m.slab, Budget: m.budget, Reserve: reserve})
		if err == nil {
			return m
		}
		if time.Since(start) > 10*time.Second {
			b.Fatal(err)
		}
	}
}

// consume reads every cache line of every frame and gives the frames back, a few at a time.
func (m *bench) consume(ctx context.Context, b *testing.B, member *link.Member) {
	const most = 32
	for {
		d, err := member.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			b.Error(err)
			return
		}
		if d.Kind == frames.KindArmed {
			member.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		}
		for part := range slices.Chunk(d.Frames, most) {
			for _, f := range part {
				p, err := f.Frame.Pixels()
				if err != nil {
					b.Error(err)
				}
				sum := uint64(0)
				for ; len(p) >= 64; p = p[64:] {
					sum += binary.LittleEndian.Uint64(p)
				}
				m.sum.Add(sum)
			}
			member.Release(part, frames.Absent)
		}
	}
}

// move captures n frames and waits until all are released.
func (m *bench) move(b *testing.B, n int) time.Duration {
	start := time.Now()
	stride := int64(m.slab.Stride())
	for range n {
		if err := m.budget.Acquire(b.Context(), stride); err != nil {
			b.Fatal(err)
		}
		slot, ok := m.slab.Take()
		if !ok {
			b.Fatal("the budget has granted more than the slab holds")
		}
		copy(m.slab.Pixels(slot), m.frame)
		rec := m.slab.Commit(slot, frames.Header{Seq: m.seq, FrameID: m.seq, HostNS: start.UnixNano()}, 1)
		m.seq++
		m.dispatch.Offer(slot, rec)
	}
	all := m.budget.Gauge().Limit
	if err := m.budget.Acquire(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if err := m.budget.Release(all); err != nil {
		b.Fatal(err)
	}
	return took
}

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// copier is the limit of the transport: memcpy of one half of a working set into the other, a frame at a time.
type copier struct {
	src, dst []byte
	frame    int
}

func newCopier(frame, set int) *copier {
	c := &copier{src: make([]byte, set/2), dst: make([]byte, set/2), frame: frame}
	for i := range c.src {
		c.src[i] = byte(i)
	}
	return c
}

// run copies n frames and returns frames a second.
func (c *copier) run(n int) float64 {
	start := time.Now()
	for i := range n {
		at := i * c.frame % len(c.src)
		copy(c.dst[at:at+c.frame], c.src[at:])
	}
	return perSecond(float64(n), start)
}

// transport is acquire's side with a camera that copies one frame again and again, and one member that reads every
// cache line of every frame, over a broker.
type transport struct {
	slab     *slab.Slab
	budget   *backpressure.Budget
	dispatch *dispatch.Dispatcher
	member   *link.Member
	frame    []byte
	seq      uint64
	sum      atomic.Uint64 // of the words that the member has read

	mu    sync.Mutex
	times []time.Duration // guarded by mu: from capture to the end of the member's work; nil while nobody wants them

	cancel context.CancelFunc
	work   *errgroup.Group
}

// newTransport makes one for frames of frameBytes in a slab of slots. connect makes a connection to the broker.
func newTransport(ctx context.Context, dir, camera string, frameBytes, slots int, connect func() (*nats.Conn, error)) (t *transport, err error) {
	const group = "analyze"
	spec := run.Spec{
		Run: frames.NewRunID(), Camera: camera, ShardFrames: 64, Store: "bench.ome.zarr", Codec: "none",
		Geometry: frames.Geometry{Height: 1, Width: frameBytes, Channels: 1, Dtype: frames.Uint8},
	}
	t = &transport{frame: make([]byte, frameBytes)}
	for i := range t.frame {
		t.frame[i] = byte(i * 7)
	}
	if t.slab, err = slab.Create(slab.Config{Dir: dir, Spec: spec, Slots: slots}); err != nil {
		return nil, err
	}
	var serving context.Context
	serving, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.work, serving = errgroup.WithContext(serving)
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	ours, err := connect()
	if err != nil {
		return nil, err
	}
	theirs, err := connect()
	if err != nil {
		return nil, err
	}
	base := "sluice." + camera
	listener, err := link.Listen(link.ListenerConfig{Transport: link.NATS(ours), Base: base, Groups: []string{group}})
	if err != nil {
		return nil, err
	}
	if t.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(slots * t.slab.Stride())}); err != nil {
		return nil, err
	}
	t.dispatch, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: []dispatch.Group{{Name: group, Policy: link.Lossless, Required: 1}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	t.work.Go(func() error { return t.dispatch.Serve(serving) })
	t.member = link.NewMember(link.MemberConfig{ //nolint:contextcheck // a membership lives until its Close
		Dialer:  link.NewDialer(link.DialerConfig{Transport: link.NATS(theirs), Base: base, Carrier: shm.Carrier{}.Name()}),
		Carrier: shm.Carrier{Dir: dir}, Join: link.Join{Group: group, Name: "reader"},
	})
	t.work.Go(func() error { return t.consume(serving) })
	reserve, err := backpressure.NewBudget(backpressure.Config{Limit: 1})
	if err != nil {
		return nil, err
	}
	return t, t.dispatch.Arm(ctx, dispatch.RunConfig{Slab: t.slab, Budget: t.budget, Reserve: reserve})
}

// close ends everything, in the reverse order.
func (t *transport) close() error {
	t.cancel()
	err := t.work.Wait()
	if t.member != nil {
		err = errors.Join(err, t.member.Close())
	}
	return errors.Join(err, t.slab.Remove(), t.slab.Close())
}

// consume reads every cache line of every frame and gives the frames back, a few at a time.
func (t *transport) consume(ctx context.Context) error {
	most := max(1, 64<<10/len(t.frame))
	for {
		d, err := t.member.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if d.Kind == frames.KindArmed {
			t.member.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		}
		for part := range slices.Chunk(d.Frames, most) {
			for _, f := range part {
				p, err := f.Frame.Pixels()
				if err != nil {
					return err
				}
				sum := uint64(0)
				for ; len(p) >= 64; p = p[64:] {
					sum += binary.LittleEndian.Uint64(p)
				}
				t.sum.Add(sum)
			}
			t.note(part)
			t.member.Release(part, frames.Absent)
		}
	}
}

// note keeps how long frames took, where that is wanted.
func (t *transport) note(fs []link.Offered) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times == nil {
		return
	}
	now := time.Now().UnixNano()
	for _, f := range fs {
		t.times = append(t.times, time.Duration(now-f.Offer.HostNS))
	}
}

// wanted begins to keep times, n of them, or takes what was kept and ends.
func (t *transport) wanted(n int) (kept []time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept, t.times = t.times, nil
	if n > 0 {
		t.times = make([]time.Duration, 0, n)
	}
	return kept
}

// run captures n frames, each every after the last one where that is not 0, waits until all are released, and returns
// frames a second.
func (t *transport) run(ctx context.Context, n int, every time.Duration) (float64, error) {
	start := time.Now()
	stride := int64(t.slab.Stride())
	tick := time.NewTimer(0)
	defer tick.Stop()
	for i := range n {
		if wait := time.Until(start.Add(time.Duration(i) * every)); every > 0 && wait > 0 {
			tick.Reset(wait)
			<-tick.C
		}
		if err := t.budget.Acquire(ctx, stride); err != nil {
			return 0, err
		}
		slot, ok := t.slab.Take()
		if !ok {
			return 0, errors.New("the budget has granted more than the slab holds")
		}
		now := time.Now().UnixNano()
		copy(t.slab.Pixels(slot), t.frame)
		rec := t.slab.Commit(slot, frames.Header{Seq: t.seq, FrameID: t.seq, HostNS: now}, 1)
		t.seq++
		t.dispatch.Offer(slot, rec)
	}
	all := t.budget.Gauge().Limit
	if err := t.budget.Acquire(ctx, all); err != nil {
		return 0, err
	}
	got := perSecond(float64(n), start)
	return got, t.budget.Release(all)
}

// latencyAt measures latencies at so many frames a second, for about a second.
func (t *transport) latencyAt(ctx context.Context, perSec float64) (*Latency, error) {
	n := int(max(50, min(perSec, 20000)))
	t.wanted(n)
	_, err := t.run(ctx, n, time.Duration(float64(time.Second)/perSec))
	times := t.wanted(0)
	if err != nil {
		return nil, fmt.Errorf("measuring latencies: %w", err)
	}
	return latency(times), nil
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// crowd is who a transport's frames go to.
type crowd struct {
	groups  int // each gets every frame
	members int // of each group, who share its frames
}

// transport is acquire's side with a camera that copies one frame again and again, and members that read every cache line
// of every frame, over a broker.
type transport struct {
	slab     *slab.Slab
	budget   *backpressure.Budget
	dispatch *dispatch.Dispatcher
	members  []*link.Member
	frame    []byte // the camera's
	seq      uint64
	sum      atomic.Uint64 // of the words that the member has read
	clock    clock.Stamper
	cancel   context.CancelFunc
	work     *errgroup.Group
}

// newTransport makes one for a camera with one frame, and a slab of slots. connect makes a connection to the broker, for
// acquire and for each member.
func newTransport(ctx context.Context, dir, camera string, frame []byte, slots int, to crowd, connect func() (*nats.Conn, error)) (t *transport, err error) {
	groups := make([]dispatch.Group, to.groups)
	names := make([]string, to.groups)
	for i := range groups {
		names[i] = fmt.Sprintf("group-%d", i)
		groups[i] = dispatch.Group{Name: names[i], Policy: link.Lossless, Required: to.members}
	}
	spec := run.Spec{
		Run: frames.NewRunID(), Camera: camera, ShardFrames: 64, Store: "bench.ome.zarr", Codec: "none",
		Geometry: frames.Geometry{Height: 1, Width: len(frame), Channels: 1, Dtype: frames.Uint8},
	}
	t = &transport{frame: frame}
	if t.slab, err = slab.Create(slab.Config{Dir: dir, Spec: spec, Slots: slots}); err != nil {
		return nil, err
	}
	t.clock = t.slab.Clock().Stamper()
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
	base := "sluice." + camera
	listener, err := link.Listen(link.ListenerConfig{Transport: link.NATS(ours), Base: base, Groups: names})
	if err != nil {
		return nil, err
	}
	if t.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(slots * t.slab.Stride())}); err != nil {
		return nil, err
	}
	t.dispatch, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: groups, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	t.work.Go(func() error { return t.dispatch.Serve(serving) })
	for _, group := range names {
		for i := range to.members {
			theirs, err := connect()
			if err != nil {
				return nil, err
			}
			m := link.NewMember(link.MemberConfig{ //nolint:contextcheck // a membership lives until its Close
				Dialer:  link.NewDialer(link.DialerConfig{Transport: link.NATS(theirs), Base: base, Carrier: link.SharedMemory}),
				Carrier: shm.Carrier{Dir: dir}, Join: link.Join{Group: group, Name: fmt.Sprintf("%s-%d", group, i)},
			})
			t.members = append(t.members, m)
			t.work.Go(func() error { return t.consume(serving, m) })
		}
	}
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
	for _, m := range t.members {
		err = errors.Join(err, m.Close())
	}
	return errors.Join(err, t.slab.Remove(), t.slab.Close())
}

// consume reads every cache line of every frame and gives the frames back, a few at a time.
func (t *transport) consume(ctx context.Context, m *link.Member) error {
	most := max(1, 64<<10/len(t.frame))
	for {
		d, err := m.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if d.Kind == frames.KindArmed {
			m.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		}
		for part := range slices.Chunk(d.Frames, most) {
			for _, f := range part {
				p, err := f.Frame.Pixels()
				if err != nil {
					return err
				}
				t.sum.Add(lines(p))
			}
			m.Release(part, frames.Absent)
		}
	}
}

// run captures n frames, each every after the last one where that is not 0, waits until all are released, and returns
// frames a second.
func (t *transport) run(ctx context.Context, n int, every time.Duration) (float64, error) {
	start := time.Now()
	stride, mask := int64(t.slab.Stride()), t.dispatch.Mask()
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for i := range n {
		if wait := time.Until(start.Add(time.Duration(i) * every)); every > 0 && wait > 0 {
			tick.Reset(wait)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if err := t.budget.Acquire(ctx, stride); err != nil {
			return 0, err
		}
		slot, ok := t.slab.Take()
		if !ok {
			return 0, errors.New("the budget has granted more than the slab holds")
		}
		now := t.clock.Now()
		copy(t.slab.Pixels(slot), t.frame)
		rec := t.slab.Commit(slot, frames.Header{Seq: t.seq, FrameID: t.seq, HostNS: now}, mask)
		t.seq++
		t.dispatch.Offer(slot, rec)
	}
	all := t.budget.Gauge().Limit
	if err := t.budget.Acquire(ctx, all); err != nil {
		return 0, err
	}
	got := float64(n) / time.Since(start).Seconds()
	return got, t.budget.Release(all)
}

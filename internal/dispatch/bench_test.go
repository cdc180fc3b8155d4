package dispatch

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// BenchmarkOffer is a frame's way from its commit to a writer and back over a real broker, with an analyser beside it:
// all that acquire does for it besides its pixels.
func BenchmarkOffer(b *testing.B) {
	const slots, k = 1024, 512
	srv := bustest.Start(b)
	dir := dispatchtest.ShmDir(b)
	spec := run.Spec{
		Run: frames.NewRunID(), Camera: "cam0", ShardFrames: k, Store: "x", Codec: "none",
		Geometry: frames.Geometry{Height: 1, Width: 64, Channels: 1, Dtype: frames.Uint8},
	}
	sl, err := slab.Create(slab.Config{Dir: dir, Spec: spec, Slots: slots})
	if err != nil {
		b.Fatal(err)
	}
	defer sl.Close()
	listener, err := link.Listen(link.ListenerConfig{Transport: link.NATS(srv.Connect("acquire")), Base: "sluice.cam0", Groups: []string{"writer", "analyze"}})
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Config{Listener: listener, Groups: []Group{writers, newest}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	stride := int64(sl.Stride())
	budget, _ := backpressure.NewBudget(backpressure.Config{Limit: (slots - 2) * stride})
	reserve, _ := backpressure.NewBudget(backpressure.Config{Limit: 2 * stride})

	for _, g := range []string{"writer", "analyze"} {
		c, err := link.NewDialer(link.DialerConfig{Transport: link.NATS(srv.Connect(g)), Base: "sluice.cam0"}).Dial(b.Context(), link.Join{Group: g, Name: g, PID: 1, Nonce: g})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		go echo(b, c, spec.Run)
	}
	if err := d.Arm(b.Context(), RunConfig{Slab: sl, Budget: budget, Reserve: reserve}); err != nil {
		b.Fatal(err)
	}
	mask := d.Mask()
	seq := uint64(0)
	began := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if err := budget.Acquire(b.Context(), stride); err != nil {
			b.Fatal(err)
		}
		slot, ok := sl.Take()
		if !ok {
			b.Fatal("no slot")
		}
		d.Offer(slot, sl.Commit(slot, frames.Header{Seq: seq}, mask))
		seq++
	}
	b.ReportMetric(float64(seq)/time.Since(began).Seconds(), "frames/s")
}

// echo is a member that releases at once.
func echo(b *testing.B, c link.Conn, id frames.RunID) {
	var offers []frames.Offer
	var body []byte
	for {
		kind, msg, err := c.Receive(b.Context())
		if err != nil {
			return
		}
		switch kind {
		case frames.KindArmed:
			err = c.Send(frames.KindReady, []byte(`{"run":"`+id.String()+`"}`))
		case frames.KindFrames:
			if offers, err = frames.DecodeOffers(offers[:0], msg); err != nil {
				b.Error(err)
			}
			body = body[:0]
			for _, o := range offers {
				body = frames.AppendRelease(body, frames.Release{Seq: o.Seq, Generation: o.Generation, Epoch: o.Epoch, Slot: o.Slot, Outcome: frames.Durable})
			}
			err = c.Send(frames.KindReleases, body)
		}
		if err != nil {
			return
		}
	}
}

package linktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// consumer is a member as consumers work with it, and acquire's end of its connection.
type consumer struct {
	*link.Member
	acquire  link.Conn
	listener link.Listener
	up, down *Faults
}

// counting is a carrier that counts what is open.
type counting struct {
	link.Carrier
	open atomic.Int64
}

// Open implements link.Carrier.
func (c *counting) Open(ctx context.Context, a link.Armed) (link.Mapping, error) {
	m, err := c.Carrier.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &countedMapping{m, c}, nil
}

type countedMapping struct {
	link.Mapping
	carrier *counting
}

// Close implements link.Mapping.
func (m *countedMapping) Close() error {
	m.carrier.open.Add(-1)
	return m.Mapping.Close()
}

// consumer joins the first member of a source's run. A Member joins when it is asked for the next delivery.
func (k *kit) consumer(carrier link.Carrier, claims func() (frames.RunID, []link.Claim)) *consumer {
	k.Helper()
	c := &consumer{up: k.process(), down: k.process()}
	c.listener = k.listen(c.down)
	k.announce("w0")
	counted := &counting{Carrier: carrier}
	c.Member = link.NewMember(link.MemberConfig{Dialer: k.dialer(c.up), Carrier: counted, Join: joinOf("w0"), Claims: claims})
	k.Cleanup(func() {
		if err := c.Close(); err != nil {
			k.Error(err)
		}
		if n := counted.open.Load(); n != 0 {
			k.Errorf("%d runs more were opened than closed", n)
		}
	})
	for _, f := range []*Faults{c.up, c.down} {
		f.Set(Chances{Seed: 5, Drop: 0.2, Double: 0.2, Delay: 0.2, Most: 20 * time.Millisecond}.Rule())
	}
	return c
}

// join has the member join while it waits for its first delivery, which is to be that of a.
func (k *kit) join(c *consumer, a link.Armed) link.Delivery {
	k.Helper()
	accepted := make(chan error, 1)
	go func() {
		conn, err := c.listener.Accept(k.ctx)
		if c.acquire = conn; err == nil {
			err = conn.Send(frames.KindArmed, mustJSON(a))
		}
		accepted <- err
	}()
	d := k.delivery(c, frames.KindArmed)
	if err := <-accepted; err != nil {
		k.Fatal(err)
	}
	acquire := c.acquire
	k.Cleanup(func() { acquire.Close() })
	c.Report(frames.KindReady, link.Ready{Run: a.Spec.Run}) // a carrier may tell acquire's end by it where pixels go
	if kind, body, err := c.acquire.Receive(k.ctx); err != nil || kind != frames.KindReady {
		k.Fatalf("kind %d, %s, %v; want ready", kind, body, err)
	} else if ready := (link.Ready{}); json.Unmarshal(body, &ready) != nil || ready.Error != "" {
		k.Fatalf("the run is refused: %s", body)
	}
	if d.Armed.Spec.Run != a.Spec.Run || d.Armed.Slab != a.Slab || d.Armed.Policy != a.Policy || d.Armed.Spec.Geometry != a.Spec.Geometry {
		k.Errorf("armed with %+v, want %+v", d.Armed, a)
	}
	return d
}

func (k *kit) delivery(c *consumer, kind frames.Kind) link.Delivery {
	k.Helper()
	d, err := c.Next(k.ctx)
	if err != nil || d.Kind != kind {
		k.Fatalf("delivery of kind %d, %v; want kind %d", d.Kind, err, kind)
	}
	return d
}

func (k *kit) offer(c *consumer, offers ...frames.Offer) {
	k.Helper()
	var body []byte
	for _, o := range offers {
		body = frames.AppendOffer(body, o)
	}
	k.send(c.acquire, frames.KindFrames, string(body))
}

func noise(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// pixels: a member sees what acquire wrote, and acquire gets each frame back once.
func pixels(k *kit) {
	if k.Source == nil {
		return
	}
	src := k.Source()
	c := k.consumer(src.Carrier(), nil)
	k.join(c, src.Armed())
	size := src.Armed().Spec.Geometry.FrameBytes()
	var offers []frames.Offer
	for seq := range uint64(8) {
		offers = append(offers, src.Put(seq, noise(seq, size)))
	}
	k.offer(c, offers[0])
	k.offer(c, offers[1:]...)
	k.send(c.acquire, frames.KindEnd, string(mustJSON(link.End{Run: src.Armed().Spec.Run, Captured: 8})))

	var got []link.Offered
	for len(got) < 8 {
		got = append(got, k.delivery(c, frames.KindFrames).Frames...)
	}
	for i, f := range got {
		p, err := f.Frame.Pixels()
		if err != nil || !bytes.Equal(p, noise(uint64(i), size)) {
			k.Errorf("frame %d: other pixels, %v", i, err)
		}
		if err := f.Frame.Intact(); err != nil {
			k.Error(err)
		}
		want := frames.Header{
			Run: src.Armed().Spec.Run, Seq: uint64(i), FrameID: offers[i].FrameID, DeviceNS: offers[i].DeviceNS,
			HostNS: offers[i].HostNS, Geometry: src.Armed().Spec.Geometry,
		}
		if f.Frame.Checksum != 0 { // a carrier may leave it out
			want.Checksum = offers[i].Checksum
		}
		if f.Frame.Header != want || f.Offer != offers[i] {
			k.Errorf("frame %d is %+v by offer %+v, want %+v by %+v", i, f.Frame.Header, f.Offer, want, offers[i])
		}
	}
	if d := k.delivery(c, frames.KindEnd); d.End.Captured != 8 {
		k.Errorf("end with %+v", d.End)
	}

	c.Release(got[:3], frames.Durable)
	c.Release(got[3:], frames.Unwritten)
	var back []frames.Release
	for len(back) < 8 {
		kind, body, err := c.acquire.Receive(k.ctx)
		if err != nil || kind != frames.KindReleases {
			k.Fatalf("kind %d, %v; want releases", kind, err)
		}
		if back, err = frames.DecodeReleases(back, body); err != nil {
			k.Fatal(err)
		}
	}
	for i, r := range back {
		o := offers[i]
		want := frames.Release{Seq: o.Seq, Generation: o.Generation, Epoch: o.Epoch, Slot: o.Slot, Outcome: frames.Durable}
		if i >= 3 {
			want.Outcome = frames.Unwritten
		}
		if r != want {
			k.Errorf("released %+v, want %+v", r, want)
		}
	}
	if _, err := got[0].Frame.Pixels(); !errors.Is(err, frames.ErrReleased) {
		k.Errorf("pixels after the release: %v, want ErrReleased", err)
	}
}

// badOffers: an offer that does not hold is no frame, and one whose slot is taken meanwhile is found out.
func badOffers(k *kit) {
	if k.Source == nil {
		return
	}
	src := k.Source()
	c := k.consumer(src.Carrier(), nil)
	k.join(c, src.Armed())
	size := src.Armed().Spec.Geometry.FrameBytes()
	good := src.Put(4, noise(4, size))
	change := func(f func(*frames.Offer)) frames.Offer {
		o := good
		f(&o)
		return o
	}
	k.offer(c,
		change(func(o *frames.Offer) { o.Slot = 1 << 20 }),
		change(func(o *frames.Offer) { o.Slot = 1<<32 - 1 }),
		change(func(o *frames.Offer) { o.Generation++ }),
		change(func(o *frames.Offer) { o.Generation += 2 }),
		change(func(o *frames.Offer) { o.Generation = 0 }),
		change(func(o *frames.Offer) { o.Seq++ }),
	)
	k.send(c.acquire, frames.KindFrames, "no offers")
	k.send(c.acquire, frames.KindLosses, string(make([]byte, frames.LossRecordSize)))
	k.send(c.acquire, frames.KindAssign, "")
	k.send(c.acquire, frames.KindEnd, `{"captured":`)
	k.send(c.acquire, frames.KindFinish, `[]`)
	k.send(c.acquire, frames.KindReleases, "of the other direction")
	k.send(c.acquire, frames.Kind(99), "unknown")
	k.offer(c, change(func(o *frames.Offer) { o.Slot++ }), good)
	got := k.delivery(c, frames.KindFrames).Frames
	if len(got) != 1 || got[0].Offer != good {
		k.Fatalf("got %+v, want the one good offer %+v", got, good)
	}
	f := got[0].Frame
	if err := f.Intact(); err != nil {
		k.Error(err)
	}
	src.Reclaim(good)
	if err := f.Intact(); k.Copies && err != nil {
		k.Errorf("a copy of its own: %v", err)
	} else if !k.Copies && !errors.Is(err, frames.ErrReclaimed) {
		k.Errorf("its slot was taken: %v, want ErrReclaimed", err)
	}
	k.offer(c, good) // stale by now
	k.send(c.acquire, frames.KindEvent, "next")
	if d := k.delivery(c, frames.KindEvent); string(d.Event) != "next" {
		k.Errorf("event %q", d.Event)
	}
}

// takenBack: a member of a latest group that is offered a frame whose slot is taken gives it back at once: acquire has no
// other for it before. The consumer never sees it.
func takenBack(k *kit) {
	if k.Source == nil {
		return
	}
	src := k.Source()
	c := k.consumer(src.Carrier(), nil)
	a := src.Armed()
	a.Policy = link.Latest
	k.join(c, a)
	o := src.Put(4, noise(4, a.Spec.Geometry.FrameBytes()))
	src.Reclaim(o)
	k.offer(c, o)
	ctx, cancel := context.WithCancel(k.ctx)
	nothing := make(chan error)
	go func() {
		d, err := c.Next(ctx)
		if err == nil {
			err = fmt.Errorf("delivery of kind %d", d.Kind)
		}
		nothing <- err
	}()
	kind, body, err := c.acquire.Receive(k.ctx)
	cancel()
	if err := <-nothing; !errors.Is(err, context.Canceled) {
		k.Errorf("the consumer got a %v", err)
	}
	if err != nil || kind != frames.KindReleases {
		k.Fatalf("kind %d, %v; want a release", kind, err)
	}
	want := frames.Release{Seq: o.Seq, Generation: o.Generation, Epoch: o.Epoch, Slot: o.Slot, Outcome: frames.Absent}
	if rels, err := frames.DecodeReleases(nil, body); err != nil || len(rels) != 1 || rels[0] != want {
		k.Errorf("%+v, %v; want %+v", rels, err, want)
	}
}

// runs: a run that can't be had is refused by the member, and its frames are nobody's; another run follows.
func runs(k *kit) {
	if k.Source == nil {
		return
	}
	first, second := k.Source(), k.Source()
	c := k.consumer(first.Carrier(), nil)
	k.join(c, first.Armed())
	size := first.Armed().Spec.Geometry.FrameBytes()
	o := first.Put(0, noise(1, size))
	k.offer(c, o)
	held := k.delivery(c, frames.KindFrames).Frames

	other := func(f func(*link.Armed)) func(*link.Armed) {
		return func(a *link.Armed) {
			a.Spec, a.Slab = second.Armed().Spec, second.Armed().Slab
			f(a)
		}
	}
	for i, bad := range []struct {
		what  string
		spoil func(*link.Armed)
	}{
		{"without shards", other(func(a *link.Armed) { a.Spec.ShardFrames = 0 })},
		{"without a geometry", other(func(a *link.Armed) { a.Spec.Geometry.Height = -1 })},
		{"without a policy", other(func(a *link.Armed) { a.Policy = "" })},
		{"of another run", func(a *link.Armed) { a.Spec.Run = frames.NewRunID() }},
		{"elsewhere", other(func(a *link.Armed) { a.Slab = "/etc/passwd" })},
		{"of other geometry", other(func(a *link.Armed) { a.Spec.Geometry.Width++ })},
		{"of another camera", other(func(a *link.Armed) { a.Spec.Camera = "cam99" })},
	} {
		if k.Copies && i >= 3 { // who has no slab before it can't tell
			break
		}
		a := first.Armed()
		bad.spoil(&a)
		text := mustJSON(a)
		k.send(c.acquire, frames.KindArmed, string(text))
		k.offer(c, o)
		k.send(c.acquire, frames.KindEvent, "next")
		k.delivery(c, frames.KindEvent)
		kind, body, err := c.acquire.Receive(k.ctx)
		var ready link.Ready
		if err != nil || kind != frames.KindReady || json.Unmarshal(body, &ready) != nil || ready.Run != a.Spec.Run || ready.Error == "" || strings.Contains(ready.Error, "\n") {
			k.Errorf("a run %s: kind %d, %s, %v; want one line of refusal", bad.what, kind, body, err)
		}
		if i == 0 { // the frame of the run before is whole until the consumer asks for the next delivery
			if p, err := held[0].Frame.Pixels(); err != nil || !bytes.Equal(p, noise(1, size)) {
				k.Errorf("the frame in hand: other pixels, %v", err)
			}
			c.Release(held, frames.Durable)
			if kind, _, err := c.acquire.Receive(k.ctx); err != nil || kind != frames.KindReleases {
				k.Errorf("kind %d, %v; want a release", kind, err)
			}
		}
	}

	k.send(c.acquire, frames.KindArmed, string(mustJSON(second.Armed())))
	k.delivery(c, frames.KindArmed)
	c.Report(frames.KindReady, link.Ready{Run: second.Armed().Spec.Run})
	if kind, _, err := c.acquire.Receive(k.ctx); err != nil || kind != frames.KindReady {
		k.Fatalf("kind %d, %v; want ready", kind, err)
	}
	k.offer(c, second.Put(0, noise(2, size)))
	got := k.delivery(c, frames.KindFrames).Frames
	if p, err := got[0].Frame.Pixels(); err != nil || !bytes.Equal(p, noise(2, size)) {
		k.Errorf("the second run's frame: other pixels, %v", err)
	}
	c.Release(got, frames.Durable)
	k.send(c.acquire, frames.KindClosed, string(mustJSON(link.Closed{Run: second.Armed().Spec.Run})))
	k.delivery(c, frames.KindClosed)
	k.offer(c, second.Put(1, noise(3, size))) // of no run any more
	k.send(c.acquire, frames.KindEvent, "next")
	k.delivery(c, frames.KindEvent)
}

// memberAgain: a Member outlives acquire, and brings its claims.
func memberAgain(k *kit) {
	if k.Source == nil {
		return
	}
	src := k.Source()
	run := src.Armed().Spec.Run
	c := k.consumer(src.Carrier(), func() (frames.RunID, []link.Claim) { return run, []link.Claim{{Shard: 2, Epoch: 3}} })
	if c.Connected() {
		k.Error("it has joined before it was asked to")
	}
	k.join(c, src.Armed())
	if !c.Connected() {
		k.Error("it has not joined")
	}
	size := src.Armed().Spec.Geometry.FrameBytes()
	o := src.Put(0, noise(1, size))
	k.offer(c, o)
	held := k.delivery(c, frames.KindFrames).Frames
	c.listener.Close()
	c.listener = k.listen(c.down)
	again := src.Armed()
	again.Resumed = true
	if d := k.join(c, again); !d.Armed.Resumed {
		k.Errorf("armed again with %+v", d.Armed)
	}
	if j := c.acquire.Peer().Join; j.Run != run || len(j.Claims) != 1 || j.Claims[0] != (link.Claim{Shard: 2, Epoch: 3}) {
		k.Errorf("it joined with %+v", j)
	}
	if p, err := held[0].Frame.Pixels(); err != nil || !bytes.Equal(p, noise(1, size)) {
		k.Errorf("the frame in hand: other pixels, %v", err)
	}
	c.Release(held, frames.Durable)
	kind, body, err := c.acquire.Receive(k.ctx)
	if err != nil || kind != frames.KindReleases {
		k.Fatalf("kind %d, %v; want the release", kind, err)
	}
	if rels, err := frames.DecodeReleases(nil, body); err != nil || len(rels) != 1 || rels[0].Seq != 0 || rels[0].Generation != o.Generation {
		k.Errorf("released %+v, %v", rels, err)
	}
	// Frames that come again are frames.
	k.offer(c, o)
	if got := k.delivery(c, frames.KindFrames).Frames; len(got) != 1 {
		k.Errorf("%d frames came again", len(got))
	}
	ctx, cancel := context.WithTimeout(k.ctx, timing.Repeat)
	defer cancel()
	if d, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		k.Errorf("got %+v, %v; want the context's error", d, err)
	}
}

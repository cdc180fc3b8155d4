package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// station is acquire's side of a run, and a slab.
type station struct {
	t        testing.TB
	ctx      context.Context // ends with the test, and with its time: what does not come fails it
	b        *brokers
	base     string
	source   *linktest.SlabSource
	feeder   *Feeder
	listener link.Listener
}

// newStation opens acquire's door to members of the group writer. A slab has the run's frames.
func newStation(t testing.TB, b *brokers, spec run.Spec, slots int, c Config) *station {
	t.Helper()
	return newStationAt(t, b, base(), b.dial, spec, slots, c)
}

// newStationAt is newStation for a camera whose pixels go out on a connection of the test's own.
func newStationAt(t testing.TB, b *brokers, camera string, dial dial, spec run.Spec, slots int, c Config) *station {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	t.Cleanup(cancel)
	s := &station{t: t, ctx: ctx, b: b, base: camera}
	c.Connect = dial
	c.Base, c.Dir = s.base, t.TempDir()
	s.source = linktest.NewSlabSource(t, c.Dir, nil, spec, slots)
	s.feeder = newFeeder(t, b, c)
	inner, err := link.Listen(link.ListenerConfig{Transport: link.NATS(b.connect(t)), Base: s.base, Groups: []string{"writer"}})
	if err != nil {
		t.Fatal(err)
	}
	s.listener = Listen(inner, s.feeder)
	t.Cleanup(func() { s.listener.Close() })
	return s
}

// dial makes a connection for pixels.
type dial = func(context.Context) (*nats.Conn, error)

// consumer is a member and acquire's end of its connection.
type consumer struct {
	*link.Member
	s    *station
	conn link.Conn
	got  chan link.Offered
	end  chan int // gets the number of frames that came before the run's end
}

// join has a member join and agree to the run. Its frames come on got until the test ends, or the context does.
func (s *station) join(ctx context.Context, name string, memory int64, policy link.Policy) *consumer {
	s.t.Helper()
	return s.joinBy(ctx, s.b.dial, name, memory, policy)
}

// joinBy is join for a member whose pixels come in on a connection of the test's own.
func (s *station) joinBy(ctx context.Context, dial dial, name string, memory int64, policy link.Policy) *consumer {
	s.t.Helper()
	c := &consumer{s: s, got: make(chan link.Offered, 1024), end: make(chan int, 1)}
	c.Member = link.NewMember(link.MemberConfig{
		Dialer:  link.NewDialer(link.DialerConfig{Transport: link.NATS(s.b.connect(s.t)), Base: s.base}),
		Carrier: Carrier{Connect: dial, Base: s.base, Name: name, Memory: memory},
		Join:    link.Join{Group: "writer", Name: name, PID: os.Getpid(), Host: "elsewhere", Nonce: base()},
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.work(ctx)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
		if err := c.Close(); err != nil {
			s.t.Error(err)
		}
	})
	conn, err := s.listener.Accept(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	c.conn = conn
	a := s.source.Armed()
	a.Policy = policy
	c.send(frames.KindArmed, a)
	return c
}

// agree waits for the member's answer to the run.
func (c *consumer) agree() link.Ready {
	c.s.t.Helper()
	kind, body, err := c.conn.Receive(c.s.ctx)
	var r link.Ready
	if err != nil || kind != frames.KindReady || json.Unmarshal(body, &r) != nil {
		c.s.t.Fatalf("kind %d, %s, %v; want ready", kind, body, err)
	}
	return r
}

func (c *consumer) send(kind frames.Kind, body any) {
	c.s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	if err := c.conn.Send(kind, text); err != nil {
		c.s.t.Fatal(err)
	}
}

func (c *consumer) work(ctx context.Context) {
	for n := 0; ; {
		d, err := c.Next(ctx)
		if err != nil {
			return
		}
		switch d.Kind {
		case frames.KindArmed:
			c.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		case frames.KindEnd:
			c.end <- n
		}
		for _, f := range d.Frames {
			n++
			c.got <- f
		}
	}
}

// offer puts frames into the slab and offers them.
func (c *consumer) offer(seqs ...uint64) {
	c.s.t.Helper()
	var body []byte
	size := c.s.source.Slab.Spec().Geometry.FrameBytes()
	for _, seq := range seqs {
		o := c.s.source.Put(seq, pixels(seq, size))
		body = frames.AppendOffer(body, o)
	}
	if err := c.conn.Send(frames.KindFrames, body); err != nil {
		c.s.t.Fatal(err)
	}
}

// next is the next frame, which must be that one and whole.
func (c *consumer) next(seq uint64) link.Offered {
	c.s.t.Helper()
	select {
	case f := <-c.got:
		p, err := f.Frame.Pixels()
		if err != nil || f.Offer.Seq != seq || !bytes.Equal(p, pixels(seq, len(p))) {
			c.s.t.Fatalf("frame %d, %v; want %d with its pixels", f.Offer.Seq, err, seq)
		}
		return f
	case <-c.s.ctx.Done():
		c.s.t.Fatalf("frame %d does not come: %s", seq, c.state())
		panic("unreachable")
	}
}

// state says where a member's frames are.
func (c *consumer) state() string {
	r := c.conn.(*sender).current()
	if r == nil {
		return fmt.Sprintf("no route; the connection: %v", c.conn.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%d wait, %d asked for, %d of %d in hand, %d published; the budget %+v; the connection: %v, heard %s ago; the member's: %v",
		len(r.queue), len(r.again), len(r.hand), r.window, len(r.sent), r.feeder.budget.Gauge(), c.conn.Err(), time.Since(c.conn.Peer().Heard), c.Connected())
}

// questions counts how often the member asks for pixels that have not come. What is sent again counts once.
func (c *consumer) questions() (count func() int) {
	c.s.t.Helper()
	var mu sync.Mutex
	asked := map[uint64]bool{}
	_, err := c.s.b.connect(c.s.t).Subscribe(c.s.base+".link.up.*.*", func(m *nats.Msg) {
		p, err := frames.DecodePacket(m.Data)
		if err == nil && p.Kind == frames.KindMissing {
			mu.Lock()
			defer mu.Unlock()
			asked[p.N] = true
		}
	})
	if err != nil {
		c.s.t.Fatal(err)
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(asked)
	}
}

// released waits for the next release that serve has taken down.
func (c *consumer) released(from <-chan frames.Release) {
	c.s.t.Helper()
	select {
	case <-from:
	case <-c.s.ctx.Done():
		c.s.t.Fatalf("a release does not come: %s", c.state())
	}
}

// giveBack releases a frame, and waits until acquire knows.
func (c *consumer) giveBack(f link.Offered) {
	c.s.t.Helper()
	c.Release([]link.Offered{f}, frames.Durable)
	kind, body, err := c.conn.Receive(c.s.ctx)
	if rels, _ := frames.DecodeReleases(nil, body); err != nil || kind != frames.KindReleases || len(rels) != 1 || rels[0].Seq != f.Offer.Seq {
		c.s.t.Fatalf("kind %d, %v; want the release of frame %d", kind, err, f.Offer.Seq)
	}
	c.s.source.Free(f.Offer)
}

// serve has acquire's end of a connection receive, which is what answers the member's questions. It frees what is released.
func (c *consumer) serve(released chan<- frames.Release) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for {
			kind, body, err := c.conn.Receive(ctx)
			if err != nil {
				return
			}
			if kind == frames.KindReleases {
				rels, _ := frames.DecodeReleases(nil, body)
				for _, r := range rels {
					released <- r
				}
			}
		}
	}()
	c.s.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// pixels of a frame: no two are alike.
func pixels(seq uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seq, 7))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		w := rnd.Uint64()
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
	}
	return b[:n]
}

package jetstream

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// inFlight is what both sides of the comparison have on its way at most.
	inFlight = 64 << 20
	// measured is how many bytes one side of a pair carries.
	measured = 512 << 20
)

// BenchmarkAgainstPlain carries frames to a member and, in turns, messages of the same sizes from a publisher to a consumer
// that does nothing with them, over the same broker and streams of the same kind. ratio is the speed of the link by the
// speed of plain JetStream, the median of the pairs.
func BenchmarkAgainstPlain(b *testing.B) {
	for _, storage := range []jetstream.StorageType{jetstream.MemoryStorage, jetstream.FileStorage} {
		for _, c := range []struct{ width, height int }{{4096, 2048}, {2048, 1024}, {512, 512}, {256, 256}} {
			size := c.width * c.height
			b.Run(fmt.Sprintf("%s/%dKiB", storage, size>>10), func(b *testing.B) {
				srv := newBrokers(b, 1, nil)
				s := newStation(b, srv, linktest.Spec(c.width, c.height), inFlight/size*2, Config{Storage: storage, MaxBytes: 4 * inFlight})
				w := s.join(b.Context(), "w0", inFlight, link.Lossless)
				if r := w.agree(); r.Error != "" {
					b.Fatal(r.Error)
				}
				p := newPlain(b, srv, storage, size)
				n := measured / size
				var meter pairs.Meter
				for b.Loop() {
					meter.Pair(func() { p.carry(b, n) }, func() { w.carry(b, n) })
				}
				r := meter.Result()
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(r.Ratio, "ratio")
				b.ReportMetric(measured/1e9/r.A, "plain-GB/s")
				b.ReportMetric(measured/1e9/r.B, "link-GB/s")
			})
		}
	}
}

// carry offers n frames as slots become free, and returns when all are released.
func (c *consumer) carry(b *testing.B, n int) {
	released := make(chan error, 1)
	free := make(chan struct{}, c.s.source.Slab.Slots())
	for range cap(free) {
		free <- struct{}{}
	}
	go func() { // acquire's end
		for left := n; left > 0; {
			kind, body, err := c.conn.Receive(b.Context())
			if err != nil {
				released <- err
				return
			}
			if kind != frames.KindReleases {
				continue
			}
			rels, _ := frames.DecodeReleases(nil, body)
			for _, r := range rels {
				c.s.source.Free(frames.Offer{Slot: r.Slot})
				free <- struct{}{}
			}
			left -= len(rels)
		}
		released <- nil
	}()
	go func() { // the consumer
		for range n {
			f := <-c.got
			c.Release([]link.Offered{f}, frames.Durable)
		}
	}()
	for seq := range uint64(n) {
		<-free
		o := c.s.source.Put(seq, nil) // whatever lies in the slot
		if err := c.conn.Send(frames.KindFrames, frames.AppendOffer(nil, o)); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-released; err != nil {
		b.Fatal(err)
	}
}

// plain is a publisher and a consumer of JetStream's own.
type plain struct {
	js      jetstream.JetStream
	parts   jetstream.MessagesContext
	subject string
	cut     cut
	frame   []byte
}

func newPlain(b *testing.B, srv *brokers, storage jetstream.StorageType, size int) *plain {
	nc := srv.connect(b)
	p := &plain{subject: base() + ".plain", frame: make([]byte, size)}
	var err error
	if p.cut, err = newCut(size, nc.MaxPayload()); err != nil {
		b.Fatal(err)
	}
	if p.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(max(1, inFlight/p.cut.size))); err != nil {
		b.Fatal(err)
	}
	if _, err = p.js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "plain", Subjects: []string{p.subject}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxBytes: 4 * inFlight, Storage: storage,
	}); err != nil {
		b.Fatal(err)
	}
	theirs, err := jetstream.New(srv.connect(b))
	if err != nil {
		b.Fatal(err)
	}
	c, err := theirs.CreateConsumer(b.Context(), "plain", jetstream.ConsumerConfig{
		Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, MemoryStorage: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	if p.parts, err = c.Messages(jetstream.PullMaxMessages(p.cut.batch())); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.parts.Stop)
	return p
}

// carry publishes n frames in as many messages as the link does, and returns when all were acknowledged by the consumer.
func (p *plain) carry(b *testing.B, n int) {
	credit := make(chan struct{}, max(1, inFlight/p.cut.size)) // what is in the stream: it would refuse more
	got := make(chan error, 1)
	go func() {
		for range n * p.cut.count {
			m, err := p.parts.Next()
			if err == nil {
				err = m.Ack()
			}
			if err != nil {
				got <- err
				return
			}
			<-credit
		}
		got <- nil
	}()
	for range n {
		for i := range p.cut.count {
			select {
			case credit <- struct{}{}:
			case err := <-got:
				b.Fatal(err)
			}
			if _, err := p.js.PublishAsync(p.subject, p.cut.part(p.frame, i), jetstream.WithStallWait(startTime)); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := <-got; err != nil {
		b.Fatal(err)
	}
	<-p.js.PublishAsyncComplete()
}

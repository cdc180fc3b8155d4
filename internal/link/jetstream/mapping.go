package jetstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// patience is how long nothing may come while a frame is waited for, before acquire is asked for it again. While
	// others come the frame may be behind them. It doubles up to longestPatience with each time that nothing has come of
	// it: over a slow network one message may take longer.
	patience        = time.Second
	longestPatience = 16 * time.Second
	// pullBytes is about how much is asked for at a time, in at most pullBatch parts: a broker that can't get rid of more
	// than its max_pending (64 MiB) cuts the connection.
	pullBytes = 16 << 20
	pullBatch = 512
	// pullTime is how long a request for parts lasts, pullBeat how often the broker says meanwhile that it has it.
	pullTime = 5 * time.Second
	pullBeat = time.Second
	// fetchPause is the time before the consumer is looked for again: it is made when the member has agreed to the run. It
	// doubles up to longestFetchPause while there is none, as when a cluster chooses a leader.
	fetchPause        = 50 * time.Millisecond
	longestFetchPause = 400 * time.Millisecond
)

// mapping is one run of a member.
type mapping struct {
	carrier Carrier
	names   names
	policy  link.Policy
	window  int
	batch   int // parts that are asked for at a time
	pool    *pool
	nc      *nats.Conn
	sub     *nats.Subscription
	stop    context.CancelFunc
	working sync.WaitGroup

	doubled int // how often patience was in vain: of the goroutine that calls Frames
}

var _ link.Mapping = (*mapping)(nil)

// Way implements link.Mapping.
func (m *mapping) Way() link.Way {
	return link.Way{Carrier: link.JetStream, Window: m.window, Bytes: int64(len(m.pool.mem))}
}

// Frames implements link.Mapping.
func (m *mapping) Frames(ctx context.Context, offers []frames.Offer, each func(frames.Offer, *frames.Frame, error)) int {
	wait := min(patience<<m.doubled, longestPatience)
	for i, o := range offers {
		f, err := m.pool.frame(ctx, o, wait)
		if f == nil && err == nil && m.policy == link.Latest && wait > 0 && ctx.Err() == nil {
			err = fmt.Errorf("frame %d has not come: %w", o.Seq, slab.ErrStale) // there will be a newer one
		}
		if f == nil && err == nil {
			if wait > 0 && m.doubled < 4 {
				m.doubled++
			}
			return i
		}
		m.doubled = 0
		each(o, f, err)
		wait = 0
	}
	return len(offers)
}

// take takes a message that should be a part.
func (m *mapping) take(h nats.Header, data []byte) {
	p, err := parsePart(h.Get(partHeader))
	if err == nil {
		err = m.pool.put(p, data)
	}
	if err != nil {
		m.carrier.Logger.Debug("a message is ignored", "bytes", len(data), "error", err)
	}
}

// fetch takes parts out of the stream until ctx ends.
func (m *mapping) fetch(ctx context.Context, js jetstream.JetStream) {
	for pause := fetchPause; ; pause = min(2*pause, longestFetchPause) {
		came, err := m.consume(ctx, js)
		m.carrier.Logger.Debug("pixels can't be had, trying again", "error", err)
		if came {
			pause = fetchPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// consume takes parts until that fails: a consumer that is gone is made again by acquire. A part is acknowledged when it
// is in the member's memory, or not wanted: what is lost from there comes again from the slab. It reports whether any came.
func (m *mapping) consume(ctx context.Context, js jetstream.JetStream) (came bool, err error) {
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := js.Consumer(asking, m.names.stream(), m.carrier.Name)
	if err != nil {
		return false, err
	}
	parts, err := c.Messages(jetstream.PullMaxMessages(m.batch), jetstream.PullExpiry(pullTime), jetstream.PullHeartbeat(pullBeat))
	if err != nil {
		return false, err
	}
	defer parts.Stop()
	for {
		msg, err := parts.Next(jetstream.NextContext(ctx))
		if err != nil {
			return came, err
		}
		came = true
		m.take(msg.Headers(), msg.Data())
		if err := msg.Ack(); err != nil {
			return came, err
		}
	}
}

// Close implements link.Mapping.
func (m *mapping) Close() error {
	if m.stop != nil {
		m.stop()
	}
	m.working.Wait()
	closed := make(chan struct{})
	m.nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	m.nc.Close() // with the subscription; nobody puts parts into the pool after it
	<-closed
	return m.pool.close()
}

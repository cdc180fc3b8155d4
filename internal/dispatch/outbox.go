package dispatch

import (
	"context"
	"sync"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// maxRecords is how many records go into one packet.
	maxRecords = 512
	// spareBatches bounds the buffers that are kept for later batches.
	spareBatches = 64
)

// outbox batches what is said to one member, in order: a batch is what gathered while the one before it was on
// its way out, so batches are small when the link is idle and large under load.
type outbox struct {
	conn link.Conn
	kick chan struct{}

	mu      sync.Mutex // guards the rest
	batches []batch
	spare   []batch
}

type batch struct {
	kind    frames.Kind
	records int
	body    []byte
}

func newOutbox(c link.Conn) *outbox { return &outbox{conn: c, kick: make(chan struct{}, 1)} }

// run sends until ctx ends or the connection does.
func (o *outbox) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.kick:
		}
		o.mu.Lock()
		out := o.batches
		o.batches, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		for i := range out {
			if err := o.conn.Send(out[i].kind, out[i].body); err != nil && o.conn.Err() != nil {
				return // whoever receives from the connection learns of it
			}
		}
		if len(out) <= spareBatches {
			o.mu.Lock()
			o.spare = out
			o.mu.Unlock()
		}
	}
}

// next returns the batch that a record of the kind goes into. o.mu is held.
func (o *outbox) next(kind frames.Kind) *batch {
	if n := len(o.batches); n > 0 && o.batches[n-1].kind == kind && o.batches[n-1].records < maxRecords {
		return &o.batches[n-1]
	}
	if n := len(o.batches); n < cap(o.batches) {
		o.batches = o.batches[:n+1] // with the body of an earlier batch, to be written over
	} else {
		o.batches = append(o.batches, batch{})
	}
	b := &o.batches[len(o.batches)-1]
	b.kind, b.records, b.body = kind, 0, b.body[:0]
	return b
}

func (o *outbox) add(kind frames.Kind, records int, put func([]byte) []byte) {
	o.mu.Lock()
	b := o.next(kind)
	b.body = put(b.body)
	b.records += records
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outbox) offer(f frames.Offer) {
	o.mu.Lock()
	b := o.next(frames.KindFrames)
	b.body = frames.AppendOffer(b.body, f)
	b.records++
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outbox) assign(a frames.Assignment) {
	o.add(frames.KindAssign, 1, func(b []byte) []byte { return frames.AppendAssignment(b, a) })
}

func (o *outbox) lose(l frames.LossRecord) {
	o.add(frames.KindLosses, 1, func(b []byte) []byte { return frames.AppendLossRecord(b, l) })
}

// message queues a JSON body; such a body is a packet of its own.
func (o *outbox) message(kind frames.Kind, body []byte) {
	o.add(kind, maxRecords, func(b []byte) []byte { return append(b, body...) })
}

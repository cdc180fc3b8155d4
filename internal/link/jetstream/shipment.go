package jetstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The time before a frame that could not be stored is published again: it doubles.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// shipment is an item whose pixels were published.
type shipment struct {
	item
	acks []jetstream.PubAckFuture
	// silent ones were offered before: the member has asked for their pixels.
	silent bool
	stream time.Time // which it was published into
	err    error     // of the publishing; wraps slab.ErrStale for a frame that is not there any more
}

// publish puts a frame's parts on their way.
func (r *route) publish(sh *shipment) {
	sh.acks, sh.stream, sh.err = nil, r.feeder.stream(), nil
	f, err := r.frame(sh.offer)
	if err != nil {
		sh.err = err
	} else {
		defer f.Release()
		if r.policy == link.Lossless {
			sh.acks, sh.err = r.store(f, sh.offer)
		} else {
			sh.err = r.show(f, sh.offer)
		}
	}
	// A lossless group's frame is there until it is released, or given up; and then the member is told so. Who waits for
	// the pixels of one that is not there learns it at once.
	if errors.Is(sh.err, slab.ErrStale) && (sh.silent || r.policy != link.Lossless) {
		_ = r.feeder.nc.PublishMsg(message(r.feeder.names.plain(r.s.name), part{run: r.run, key: keyOf(sh.offer)}, nil)) // it asks again
	}
}

// frame finds an offered frame in the slab.
func (r *route) frame(o frames.Offer) (f *frames.Frame, err error) {
	r.view.Frames([]frames.Offer{o}, func(_ frames.Offer, held *frames.Frame, e error) { f, err = held, e })
	return f, err
}

func message(subject string, p part, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{partHeader: {p.String()}}, Data: data}
}

// store publishes a frame into the stream.
func (r *route) store(f *frames.Frame, o frames.Offer) ([]jetstream.PubAckFuture, error) {
	pixels, err := f.Pixels()
	if err != nil {
		return nil, err
	}
	subject := r.feeder.names.stored(r.s.name)
	acks := make([]jetstream.PubAckFuture, 0, r.cut.count)
	for i := range r.cut.count {
		data := r.cut.part(pixels, i)
		p := part{run: r.run, key: keyOf(o), index: i, count: r.cut.count, crc: crc32c.Checksum(data)}
		// The pixels are copied before the call returns, and not looked at again: a refused message is not sent by itself
		// once more.
		ack, err := r.feeder.js.PublishMsgAsync(message(subject, p, data), jetstream.WithRetryAttempts(0))
		if err != nil {
			return acks, fmt.Errorf("publish part %d of %d: %w", i, r.cut.count, err)
		}
		acks = append(acks, ack)
	}
	return acks, stale(f)
}

// stale is the error of a frame whose slot was given to another while it was read.
func stale(f *frames.Frame) error {
	if err := f.Intact(); err != nil {
		return fmt.Errorf("%w: %w", slab.ErrStale, err)
	}
	return nil
}

// show publishes a frame to a member that may miss it. Its slot can be filled anew meanwhile: the last part goes out only
// if it was not until then.
func (r *route) show(f *frames.Frame, o frames.Offer) error {
	pixels, err := f.Pixels()
	if err != nil {
		return err
	}
	subject := r.feeder.names.plain(r.s.name)
	buffer := make([]byte, r.cut.size)
	for i := range r.cut.count {
		data := buffer[:copy(buffer, r.cut.part(pixels, i))]
		if i == r.cut.count-1 {
			if err := stale(f); err != nil {
				return err
			}
		}
		p := part{run: r.run, key: keyOf(o), index: i, count: r.cut.count, crc: crc32c.Checksum(data)}
		if err := r.feeder.nc.PublishMsg(message(subject, p, data)); err != nil {
			return fmt.Errorf("publish part %d of %d: %w", i, r.cut.count, err)
		}
	}
	return nil
}

// confirm offers frames when they are stored, in the order of their publication, until the route is closed.
func (r *route) confirm() {
	var batch []byte
	n := 0
	flush := func() {
		if n > 0 {
			_ = r.s.Conn.Send(frames.KindFrames, batch) // who receives from the connection learns of it
		}
		batch, n = batch[:0], 0
	}
	for sh := range r.sent {
		if sh.kind != 0 {
			flush()
			_ = r.s.Conn.Send(sh.kind, sh.body)
			continue
		}
		if n == maxBatch || !sh.answered() {
			flush()
		}
		if r.settled(&sh) && !sh.silent {
			batch = frames.AppendOffer(batch, sh.offer)
			n++
		}
		if len(r.sent) == 0 {
			flush()
		}
	}
}

// answered takes down what the broker has answered so far, and reports whether that is all.
func (sh *shipment) answered() bool {
	for sh.err == nil && len(sh.acks) > 0 {
		select {
		case <-sh.acks[0].Ok():
			sh.acks = sh.acks[1:]
		case sh.err = <-sh.acks[0].Err():
		default:
			return false
		}
	}
	return true
}

// settled waits until a frame is stored, and publishes it again until it is. It returns false for one that is not there
// any more, and when the route is closed. A latest member is offered its frame in any case: what has not come it gives
// back.
func (r *route) settled(sh *shipment) bool {
	if r.policy != link.Lossless {
		return true
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		r.await(sh)
		switch {
		case r.ctx.Err() != nil:
			return false
		case sh.err == nil:
			r.stored(sh.offer, sh.stream)
			return true
		case r.gone(sh.offer):
			if !sh.silent {
				r.settle(keyOf(sh.offer))
			}
			return false
		}
		r.feeder.complain(r.s.name, sh.err)
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return false
		}
		if _, err := r.feeder.serve(r.ctx, r.s.name); err != nil {
			sh.acks, sh.err = nil, err
			continue
		}
		r.publish(sh)
	}
}

// gone reports whether a frame is not in its slot any more.
func (r *route) gone(o frames.Offer) bool {
	f, err := r.frame(o)
	if err != nil {
		return true
	}
	f.Release()
	return false
}

// await waits for the broker's answers to a frame's parts.
func (r *route) await(sh *shipment) {
	for sh.err == nil && len(sh.acks) > 0 {
		select {
		case <-sh.acks[0].Ok():
			sh.acks = sh.acks[1:]
		case sh.err = <-sh.acks[0].Err():
		case <-r.ctx.Done():
			return
		}
	}
}

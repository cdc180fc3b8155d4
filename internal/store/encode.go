package store

import (
	"context"
	"errors"
	"sync"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// placeEncoded compresses frames and packs them in order. The encoders begin with a commit while the one before is
// still being packed, so they have work as long as there are frames and room for what they make.
func (s *Shard) placeEncoded(ctx context.Context, fs []Frame, recs []record) error {
	// Commits get buffers in the order in which they pack: who packs never waits for one that is kept by who waits to.
	if err := s.store.encoding.take(ctx); err != nil {
		return err
	}
	begin, stop := context.WithCancel(ctx)
	defer stop()
	queue := make(chan chan encodedFrame, len(fs))
	packs := make(chan struct{}) // closed when this commit packs, or never will
	var encoders sync.WaitGroup
	defer encoders.Wait()
	encoders.Go(func() {
		defer s.store.encoding.give()
		s.encodeAll(begin, fs, queue, &encoders)
		<-packs
	})
	err := s.store.packing.take(ctx)
	close(packs)
	if err != nil {
		stop()
		for one := range queue {
			s.store.encoded.put((<-one).buf)
		}
		return err
	}
	p := s.newPacker()
	done := 0
	for one := range queue {
		e := <-one
		if err = errors.Join(err, e.err); err == nil {
			recs[done].CRC = e.crc
			err = p.add(ctx, e.data, &recs[done])
		}
		s.store.encoded.put(e.buf)
		if err != nil {
			stop()
		}
		done++
	}
	if err == nil && done < len(fs) {
		err = ctx.Err()
	}
	err = errors.Join(err, p.flush(ctx))
	s.store.packing.give()
	return errors.Join(err, p.writes.Wait())
}

// encodedFrame is one encoder's result.
type encodedFrame struct {
	buf  []byte // of the pool
	data []byte
	crc  uint32
	err  error
}

// encodeAll begins to compress one frame after the other, as buffers and encoders become free, until ctx ends. It sends
// where each result will be, in order, and closes the queue, which has room for all.
func (s *Shard) encodeAll(ctx context.Context, fs []Frame, queue chan<- chan encodedFrame, encoders *sync.WaitGroup) {
	defer close(queue)
	for _, f := range fs {
		buf, err := s.store.encoded.get(ctx)
		if err != nil {
			return
		}
		if s.store.encoders.take(ctx) != nil {
			s.store.encoded.put(buf)
			return
		}
		one := make(chan encodedFrame, 1)
		queue <- one
		encoders.Go(func() {
			defer s.store.encoders.give()
			one <- s.encode(f.Pixels, buf)
		})
	}
}

func (s *Shard) encode(pixels, buf []byte) encodedFrame {
	s.store.opts.Hooks.Working(+1)
	defer s.store.opts.Hooks.Working(-1)
	e := encodedFrame{buf: buf}
	e.err = frames.Guard(pixels, func() { e.data = s.store.encoder.EncodeAll(pixels, buf[:0]) })
	e.crc = castagnoli(e.data)
	return e
}

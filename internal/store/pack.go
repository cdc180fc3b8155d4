package store

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// placePacked writes frames, compressed where the run wants it, one behind the other, in blocks that begin where
// the last commit's end, so that no block that was synced is written again. It fills in the records' offset, size
// and checksum. One commit packs at a time; its last writes go on while the next one packs.
func (s *Shard) placePacked(ctx context.Context, fs []Frame, recs []record) error {
	if s.store.encoder != nil {
		return s.placeEncoded(ctx, fs, recs)
	}
	if err := s.store.packing.take(ctx); err != nil {
		return err
	}
	p := s.newPacker()
	err := errors.Join(p.addFrames(ctx, fs, recs), p.flush(ctx))
	s.store.packing.give()
	return errors.Join(err, p.writes.Wait())
}

// packer puts chunks into staging buffers and writes those that are full.
type packer struct {
	shard  *Shard
	writes errgroup.Group
	buf    []byte // the staging buffer that is being filled, nil when there is none
	n      int    // bytes in buf
	off    int64  // where buf goes
}

// newPacker begins at the end of the file. The caller holds packing, so that nobody else moves it.
func (s *Shard) newPacker() *packer {
	s.space.Lock()
	defer s.space.Unlock()
	return &packer{shard: s, off: s.space.end}
}

func (p *packer) addFrames(ctx context.Context, fs []Frame, recs []record) error {
	for i, f := range fs {
		p.shard.store.opts.Hooks.Working(+1)
		err := checksum(f, &recs[i])
		p.shard.store.opts.Hooks.Working(-1)
		if err != nil {
			return err
		}
		if err := p.add(ctx, f.Pixels, &recs[i]); err != nil {
			return err
		}
	}
	return nil
}

// add puts one chunk behind the last and notes where it lies.
func (p *packer) add(ctx context.Context, chunk []byte, rec *record) error {
	rec.Offset, rec.Size = uint64(p.off)+uint64(p.n), uint64(len(chunk))
	for len(chunk) > 0 {
		if p.buf == nil {
			var err error
			if p.buf, err = p.shard.store.staging.get(ctx); err != nil {
				return err
			}
		}
		p.shard.store.opts.Hooks.Working(+1)
		n := 0
		err := frames.Guard(chunk, func() { n = copy(p.buf[p.n:], chunk) })
		p.shard.store.opts.Hooks.Working(-1)
		if err != nil {
			return err
		}
		chunk, p.n = chunk[n:], p.n+n
		if p.n == len(p.buf) {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what is in the staging buffer, filled up with zeros to a whole block.
func (p *packer) flush(ctx context.Context) error {
	if p.n == 0 {
		if p.buf != nil {
			p.shard.store.staging.put(p.buf)
			p.buf = nil
		}
		return nil
	}
	store, buf, off := p.shard.store, p.buf, p.off
	size := int(vfs.Pad(int64(p.n)))
	clear(buf[p.n:size])
	p.buf, p.n, p.off = nil, 0, off+int64(size)
	if _, err := p.shard.reserve(int64(size)); err != nil {
		store.staging.put(buf)
		return err
	}
	if err := store.writes.take(ctx); err != nil {
		store.staging.put(buf)
		return err
	}
	p.writes.Go(func() error {
		defer store.writes.give()
		defer store.staging.put(buf)
		_, err := p.shard.data.WriteAt(buf[:size], off)
		return err
	})
	return nil
}

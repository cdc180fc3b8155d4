package store

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// grow makes the arrays as long as the sealed shards from the first one on without a gap are, under the store's
// lock, unless this Store has made them as long as end meanwhile: of many shards that wait for the lock the first does it
// for all.
func (s *Store) grow(ctx context.Context, end uint64) error {
	if err := s.growing.take(ctx); err != nil {
		return err
	}
	defer s.growing.give()
	if s.grown >= end {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("growing the arrays: %w", err)
	}
	defer unlock.Close()
	now, err := s.ReadableUntil()
	if err != nil {
		return err
	}
	to, err := s.sealedUntil(now)
	if err != nil {
		return err
	}
	if to <= now {
		return nil
	}
	if err := s.setLength(to); err != nil {
		return err
	}
	s.grown = to
	return nil
}

// sealedUntil is how many frames the contiguous sealed shards have, where those before from are known to be
// sealed.
func (s *Store) sealedUntil(from uint64) (uint64, error) {
	k := s.spec.ShardFrames
	for no := from / k; ; no++ {
		states, err := readStates(s.fs, s.at, no, k)
		if vfs.IsNotExist(err) {
			return max(from, no*k), nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading the states of shard %d: %w", no, err)
		}
		if n := filled(states); n < k {
			return max(from, no*k+n), nil
		}
	}
}

// filled is how many frames a sealed shard has: all up to the last that is accounted for.
func filled(states []frames.State) uint64 {
	n := len(states)
	for n > 0 && states[n-1] == frames.Absent {
		n--
	}
	return uint64(n)
}

// setLength replaces the arrays' metadata, the image's last: what it offers the columns have. The caller holds the
// store's lock.
func (s *Store) setLength(t uint64) error {
	var list []replacement
	for _, c := range columns() {
		r, err := s.meta(s.at.column(c.name), c.name, columnMeta(s.spec, c, t))
		if err != nil {
			return err
		}
		list = append(list, r)
	}
	image, err := s.meta(s.at.join(imageName), imageName, imageMeta(s.spec, t))
	if err != nil {
		return err
	}
	if err := prepare(s.fs, append(list, image)...); err != nil {
		return err
	}
	if err := rename(s.fs, list); err != nil {
		return err
	}
	return rename(s.fs, []replacement{image})
}

// meta is the replacement of the zarr.json of what has the name. Who makes it holds the store's lock.
func (s *Store) meta(dir, name string, meta any) (replacement, error) {
	b, err := encodeMeta(meta)
	return replacement{s.at.work(name + "-" + metaName), filepath.Join(dir, metaName), b}, err
}

// replaceMeta replaces the zarr.json of what has the name. The caller holds the store's lock.
func (s *Store) replaceMeta(dir, name string, meta any) error {
	r, err := s.meta(dir, name, meta)
	if err != nil {
		return err
	}
	return replace(s.fs, r.temp, r.path, r.b)
}

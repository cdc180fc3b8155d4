package store

import (
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// GatherBytes is the most that goes out in one write; of frames of less than 64 KiB it is what the kernel takes in one
	// call, 1024 of them. Each write costs a thread that waits for it, and the scheduler's looking after it, whatever its
	// size; the kernel cuts a large one into requests that the disk takes.
	GatherBytes = 64 << 20
	// The file of a shard whose size is unknown is allocated by this much at a time.
	minGrowBytes = 1 << 20
	maxGrowBytes = 64 << 20
)

// placeDirect writes each frame to its own aligned place, from where it lies in memory if that is aligned too,
// and fills in the records' offset, size and checksum. The checksums are computed while the disk is at work: nobody needs
// them before the journal.
func (s *Shard) placeDirect(ctx context.Context, fs []Frame, recs []record) error {
	stride := s.store.stride
	off, err := s.reserve(int64(len(fs)) * stride)
	if err != nil {
		return err
	}
	for i := range recs {
		recs[i].Offset, recs[i].Size = uint64(off+int64(i)*stride), uint64(len(fs[i].Pixels))
	}
	g, gctx := errgroup.WithContext(ctx)
	for i := 0; i < len(fs) && gctx.Err() == nil; {
		n := 1
		for i+n < len(fs) && int64(n+1)*stride <= GatherBytes && lent(fs[i], stride) && lent(fs[i+n], stride) {
			n++
		}
		if s.store.writes.take(gctx) != nil {
			break
		}
		part, at := fs[i:i+n], off+int64(i)*stride
		g.Go(func() error {
			defer s.store.writes.give()
			return s.writeFrames(gctx, part, at)
		})
		i += n
	}
	sums := s.checksums(gctx, fs, recs)
	err = g.Wait()
	switch {
	case sums != nil: // it knows of memory that is gone what the write does not: that the disk is not to blame
		return sums
	case errors.Is(err, unix.EFAULT):
		return fmt.Errorf("%w: %w", frames.ErrFault, err)
	case err != nil:
		return err
	}
	return ctx.Err()
}

// lent reports whether a frame's memory can be written from as it is: aligned, with the padding behind it.
func lent(f Frame, stride int64) bool {
	return int64(cap(f.Pixels)) >= stride && vfs.Aligned(f.Pixels)
}

// writeFrames writes neighbours in one operation.
func (s *Shard) writeFrames(ctx context.Context, fs []Frame, off int64) error {
	stride := s.store.stride
	if !lent(fs[0], stride) {
		b, err := s.store.bounce.get(ctx)
		if err != nil {
			return err
		}
		defer s.store.bounce.put(b)
		if err := frames.Guard(fs[0].Pixels, func() { clear(b[copy(b, fs[0].Pixels):]) }); err != nil {
			return err
		}
		_, err = s.data.WriteAt(b, off)
		return err
	}
	if len(fs) == 1 {
		_, err := s.data.WriteAt(fs[0].Pixels[:stride], off)
		return err
	}
	vec := make([][]byte, len(fs))
	for i, f := range fs {
		vec[i] = f.Pixels[:stride]
	}
	return s.data.WriteVec(vec, off)
}

// checksums fills in those of frames that are written as they are, up to where ctx ends.
func (s *Shard) checksums(ctx context.Context, fs []Frame, recs []record) error {
	s.store.opts.Hooks.Working(+1)
	defer s.store.opts.Hooks.Working(-1)
	for i := range fs {
		if ctx.Err() != nil {
			break
		}
		if err := checksum(fs[i], &recs[i]); err != nil {
			return err
		}
	}
	return nil
}

// checksum fills in the checksum of a frame that is written as it is.
func checksum(f Frame, rec *record) error {
	if rec.CRC = f.Checksum; rec.CRC != 0 {
		return nil
	}
	return frames.Guard(f.Pixels, func() { rec.CRC = castagnoli(f.Pixels) })
}

// reserve takes the next n bytes of the file, a multiple of vfs.Block, and makes sure that the disk has them.
func (s *Shard) reserve(n int64) (int64, error) {
	s.space.Lock()
	defer s.space.Unlock()
	off := s.space.end
	if err := s.allocate(off + n); err != nil {
		return 0, err
	}
	s.space.end += n
	return off, nil
}

// allocate makes the disk have the file's first end bytes, and where it can all that the shard will need. The
// caller holds space.
func (s *Shard) allocate(end int64) error {
	if end <= s.space.allocated {
		return nil
	}
	have := s.space.allocated
	want := max(end, s.wanted(have))
	err := s.extend(have, want)
	if vfs.IsFull(err) && want > end {
		// The rest of the shard may be lost frames, or never come.
		want = end
		err = s.extend(have, want)
	}
	switch {
	case err == nil:
		s.space.allocated = want
	case errors.Is(err, errors.ErrUnsupported):
		s.space.allocated = math.MaxInt64
	default:
		return fmt.Errorf("allocating %d bytes for shard %d: %w", end-have, s.no, err)
	}
	return nil
}

// extend has the disk give the file what lies between have and end, all of it or nothing: what is left of a full disk is
// for the ledgers and the metadata of all writers. ext4 keeps what it got before it was full; and between a look at what
// was set aside and the allocation another writer may have begun to use that.
func (s *Shard) extend(have, end int64) error {
	if err := s.room(); err != nil {
		return err
	}
	before, err := s.data.Size() // a file that is recovered has frames behind what was allocated here
	if err != nil {
		return err
	}
	if err = s.data.Allocate(have, end-have); err == nil {
		err = s.room()
	}
	if vfs.IsFull(err) {
		if kept := s.data.Truncate(before); kept != nil {
			return fmt.Errorf("%w; giving back what it got: %w", err, kept)
		}
	}
	return err
}

// room is roomForFrames; what comes last in a shard is no frame.
func (s *Shard) room() error {
	if s.sealing {
		return nil
	}
	return s.store.roomForFrames()
}

// wanted is up to where the file should be allocated when it is allocated up to have: the whole shard where its
// size is known, else a piece more.
func (s *Shard) wanted(have int64) int64 {
	if s.sealing { // the index is the last that comes, and what the disk has left is for the columns too
		return have
	}
	n, size := int64(s.expected()), int64(s.store.spec.Geometry.FrameBytes())
	if s.store.stride > 0 {
		return n*s.store.stride + vfs.Pad(indexSize(s.store.spec.ShardFrames))
	}
	return have + max(minGrowBytes, min(vfs.Pad(n*size), maxGrowBytes))
}

// expected is how many frames the shard will have, at most.
func (s *Shard) expected() uint64 {
	k := s.store.spec.ShardFrames
	if n := s.store.spec.Frames; n > s.first {
		return min(k, n-s.first)
	}
	return k
}

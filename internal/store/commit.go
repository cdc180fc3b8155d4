package store

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Commit makes frames and losses durable. When it returns nil, the pixels are synced, the journal's records of them, and
// the losses' ledger lines. It may be called again before the last call has returned: the next frames are then written
// while the last ones are synced.
//
// An error that wraps ErrFrame or frames.ErrReclaimed, or the context's while nothing was written, or one that
// vfs.IsFull knows and that does not wrap ErrBroken, leaves the shard as it was, and no frame of the call counts. After
// any other error nobody knows what the disk holds: the shard is broken, and the frames of the call may or may not be
// found by its next owner.
func (s *Shard) Commit(ctx context.Context, fs []Frame, losses []frames.Loss) error {
	if err := s.check(fs, losses); err != nil {
		return fmt.Errorf("committing to shard %d: %w", s.no, err)
	}
	var g errgroup.Group
	if len(losses) > 0 {
		g.Go(func() error {
			for _, l := range losses {
				s.store.NoteCaptured(l.End())
			}
			if err := s.keepNames(); err != nil { // who finds files of a shard looks for its losses
				return s.fail(err)
			}
			if err := s.store.ledger.add(losses); err != nil {
				return s.fail(fmt.Errorf("writing the ledger: %w", err))
			}
			s.markLost(losses)
			return nil
		})
	}
	if len(fs) > 0 {
		g.Go(func() error { return s.commitFrames(ctx, fs) })
	}
	return g.Wait()
}

func (s *Shard) check(fs []Frame, losses []frames.Loss) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if s.stage != stageOpen && len(fs) > 0 {
		return fmt.Errorf("%w: the shard is complete", ErrFrame)
	}
	size := s.store.spec.Geometry.FrameBytes()
	for _, f := range fs {
		switch {
		case f.Seq < s.first || f.Seq-s.first >= uint64(len(s.state)):
			return fmt.Errorf("%w: frame %d", ErrFrame, f.Seq)
		case len(f.Pixels) != size:
			return fmt.Errorf("%w: frame %d has %d bytes, want %d", ErrFrame, f.Seq, len(f.Pixels), size)
		case s.state[f.Seq-s.first] == frames.Durable:
			return fmt.Errorf("%w: frame %d is durable already", ErrFrame, f.Seq)
		}
	}
	for _, l := range losses {
		if err := l.Valid(); err != nil {
			return fmt.Errorf("%w: %w", ErrFrame, err)
		}
		if l.Seq < s.first || l.End() > s.first+uint64(len(s.state)) {
			return fmt.Errorf("%w: loss of frames %d to %d", ErrFrame, l.Seq, l.End()-1)
		}
	}
	return nil
}

func (s *Shard) commitFrames(ctx context.Context, fs []Frame) error {
	recs := make([]record, len(fs))
	for i, f := range fs {
		s.store.NoteCaptured(f.Seq + 1)
		recs[i] = record{Seq: f.Seq, FrameID: f.FrameID, DeviceNS: f.DeviceNS, HostNS: f.HostNS}
	}
	place := s.placePacked
	if s.store.stride > 0 {
		place = s.placeDirect
	}
	if err := place(ctx, fs, recs); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			// Writes that had begun have ended; their space stays unused.
			return fmt.Errorf("committing to shard %d: %w", s.no, err)
		}
		if vfs.IsFull(err) && !errors.Is(err, syscall.EIO) {
			return fmt.Errorf("committing to shard %d: %w", s.no, err) // the space that it has taken stays unused
		}
		return s.fail(err)
	}
	for _, f := range fs {
		if f.Intact == nil {
			continue
		}
		if err := f.Intact(); err != nil {
			return fmt.Errorf("committing to shard %d: %w", s.no, err)
		}
	}
	return s.record(recs)
}

// record makes frames count whose chunks are written: it adds their records to the journal, and syncs that and the data.
func (s *Shard) record(recs []record) error {
	var b []byte
	for _, r := range recs {
		b = appendRecord(b, r)
	}
	if err := s.sync.do(b); err != nil {
		return err
	}
	s.markDurable(recs)
	for _, r := range recs {
		s.store.stored.Add(r.Size)
	}
	return nil
}

// syncRecords is the work of the shard's flight. When it fails the shard is broken before the next one can begin: a
// second sync might succeed although the first has dropped pages.
//
// The syncs are asked for together: a disk needs little more time for all than for one. So a crash may leave a record
// whose chunk never came to the disk. Whoever reads a journal counts a record only where its chunk's crc32c holds, and
// takes as promised only what stands before the records of a later flight.
func (s *Shard) syncRecords(records []byte) error {
	if err := s.usable(); err != nil {
		return s.fail(err)
	}
	records = appendCaptured(records, s.store.captured.Load())
	var g errgroup.Group
	g.Go(func() error {
		if err := s.store.synced(s.data.Datasync); err != nil {
			return fmt.Errorf("syncing frames: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		if err := s.store.synced(func() error { return s.journal.append(records) }); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		return nil
	})
	g.Go(s.keepNames)
	if err := g.Wait(); err != nil {
		return s.fail(err)
	}
	if err := s.present(); err != nil {
		return s.fail(err)
	}
	return nil
}

// keepNames makes the names of the shard's files durable, once.
func (s *Shard) keepNames() error {
	s.names.Lock()
	defer s.names.Unlock()
	if s.names.durable {
		return nil
	}
	if err := s.store.fs.SyncDir(s.store.at.join(workDir)); err != nil {
		return fmt.Errorf("naming the files: %w", err)
	}
	s.names.durable = true
	return nil
}

// present returns an error that vfs.IsNotExist knows where the store was removed while it was written: the sync of a file
// without a name keeps nothing. A newer owner removes the shard's file too, and the store is there then.
func (s *Shard) present() error {
	gone, err := s.data.Removed()
	if err != nil || !gone {
		return err
	}
	for _, name := range []string{metaName, workDir} {
		if _, err := s.store.fs.Stat(s.store.at.join(name)); err != nil {
			return fmt.Errorf("the file of shard %d was removed: %w", s.no, err)
		}
	}
	return nil
}

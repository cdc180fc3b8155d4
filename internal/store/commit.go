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
// the losses' ledger lines. It is Write and Wait in one.
func (s *Shard) Commit(ctx context.Context, fs []Frame, losses []frames.Loss) error {
	p, err := s.Write(ctx, fs, losses)
	if err != nil {
		return err
	}
	return p.Wait()
}

// Pending is frames that are written and losses that are told, and not durable before Wait has returned.
type Pending struct {
	shard  *Shard
	recs   []record
	synced *batch // nil where there are no frames
	losses errgroup.Group
}

// Write puts frames into the shard's file and has them synced, with the records of them and the losses. It may be called
// again before Wait has returned: the next frames are then written while the last ones are synced. The pixels are lent
// until it returns.
//
// An error, of Write or Wait, that wraps ErrFrame or frames.ErrReclaimed, or the context's while nothing was written, or
// one that vfs.IsFull knows and that does not wrap ErrBroken, leaves the shard as it was, and no frame of the call counts.
// After any other error nobody knows what the disk holds: the shard is broken, and the frames of the call may or may not
// be found by its next owner.
func (s *Shard) Write(ctx context.Context, fs []Frame, losses []frames.Loss) (*Pending, error) {
	if err := s.check(fs, losses); err != nil {
		return nil, fmt.Errorf("committing to shard %d: %w", s.no, err)
	}
	p := &Pending{shard: s}
	if len(losses) > 0 {
		p.losses.Go(func() error { return s.ledger(losses) })
	}
	if len(fs) > 0 {
		if err := p.write(ctx, fs); err != nil {
			_ = p.losses.Wait() // a ledger that failed has broken the shard, and the next call says so
			return nil, err
		}
	}
	return p, nil
}

// Wait returns when all is durable, or why it is not. It can't be interrupted: nobody knows what an interrupted sync has
// done.
func (p *Pending) Wait() error {
	err := p.losses.Wait()
	if p.synced == nil {
		return err
	}
	if failed := p.synced.wait(); failed != nil {
		return failed
	}
	p.shard.markDurable(p.recs)
	for _, r := range p.recs {
		p.shard.store.stored.Add(r.Size)
	}
	return err
}

// ledger makes losses durable.
func (s *Shard) ledger(losses []frames.Loss) error {
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

// write puts frames into the file and asks for their sync.
func (p *Pending) write(ctx context.Context, fs []Frame) error {
	s := p.shard
	p.recs = make([]record, len(fs))
	for i, f := range fs {
		s.store.NoteCaptured(f.Seq + 1)
		p.recs[i] = record{Seq: f.Seq, FrameID: f.FrameID, DeviceNS: f.DeviceNS, HostNS: f.HostNS}
	}
	if s.store.stride == 0 {
		// They are compressed or packed meanwhile: no sync waits for that.
		if err := s.place(ctx, s.placePacked, fs, p.recs); err != nil {
			return err
		}
		p.synced = s.sync.join(encodeRecords(p.recs), nil)
		return nil
	}
	writers := s.sync.enter()
	if err := s.place(ctx, s.placeDirect, fs, p.recs); err != nil {
		writers.Done()
		return err
	}
	p.synced = s.sync.join(encodeRecords(p.recs), writers)
	return nil
}

// place has frames placed in the file, and makes sure that they were what they should be all the while.
func (s *Shard) place(ctx context.Context, place func(context.Context, []Frame, []record) error, fs []Frame, recs []record) error {
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
	return nil
}

// record makes frames count whose chunks are written: it adds their records to the journal, and syncs that and the data.
func (s *Shard) record(recs []record) error {
	return (&Pending{shard: s, recs: recs, synced: s.sync.join(encodeRecords(recs), nil)}).Wait()
}

// encodeRecords is the records' units.
func encodeRecords(recs []record) (b []byte) {
	for _, r := range recs {
		b = appendRecord(b, r)
	}
	return b
}

// syncRecords is the work of the shard's flight. When it fails the shard is broken before the next one can begin: a
// second sync might succeed although the first has dropped pages.
//
// The syncs are asked for together: a disk needs little more time for all than for one. So a crash may leave a record
// whose chunk never came to the disk. Whoever reads a journal counts a record only where its chunk's crc32c holds, and
// takes as promised only what is confirmed behind it; who takes a shard over in a run that goes on takes nothing else: what
// is not confirmed was not acknowledged, and comes again. Where the page cache is between, that is not
// enough: a chunk whose sync failed looks whole in there. The record comes after the sync then.
func (s *Shard) syncRecords(records []byte) error {
	if err := s.usable(); err != nil {
		return s.fail(err)
	}
	records = appendCaptured(records, s.store.captured.Load())
	data := func() error {
		if err := s.store.synced(s.data.Datasync); err != nil {
			return fmt.Errorf("syncing frames: %w", err)
		}
		return nil
	}
	var g errgroup.Group
	if s.data.Direct() == nil {
		g.Go(data)
	} else if err := data(); err != nil {
		return s.fail(err)
	}
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
	if err := s.journal.confirm(); err != nil {
		return s.fail(fmt.Errorf("writing the journal: %w", err))
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

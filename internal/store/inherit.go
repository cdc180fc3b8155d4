package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// lostPath is the name that the empty data file of a shard without a durable frame gets when it is published.
func (s *Shard) lostPath() string { return s.store.at.work(workName(s.no, 0, lostKind)) }

// readPublished learns the frames of a shard whose file has its final name, but which lacks columns. Where each
// chunk lies is told by the file's own index, the rest by the journals.
func (s *Shard) readPublished(journals []journal) (bool, error) {
	f, err := s.store.fs.OpenFile(s.store.at.shardFile(s.no), 0)
	if vfs.IsNotExist(err) {
		_, err := s.store.fs.Stat(s.lostPath())
		if err == nil {
			s.setStage(stagePublished)
		}
		return err == nil, ignoreNotExist(err)
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	spans, err := readIndex(f, s.store.spec.ShardFrames)
	if errors.Is(err, ErrCorrupt) {
		if name := s.publisher(journals); name != "" {
			return false, s.unpublish(name)
		}
	}
	if err != nil {
		return false, err
	}
	known := map[span]record{}
	for _, j := range journals {
		for _, r := range j.Records {
			if sp := spans[r.Seq-s.first]; sp == (span{r.Offset, r.Size}) {
				known[sp] = r
			}
		}
	}
	var recs []record
	for i, sp := range spans {
		if sp.empty() {
			continue
		}
		r, ok := known[sp]
		if !ok {
			if r, err = s.fromColumns(uint64(i), sp); err != nil {
				return false, err
			}
		}
		if r.Seq != s.first+uint64(i) {
			return false, fmt.Errorf("%w: no journal knows frame %d of the published shard", ErrCorrupt, s.first+uint64(i))
		}
		recs = append(recs, r)
	}
	s.markDurable(recs)
	s.setStage(stagePublished)
	return true, nil
}

// publisher is the name that the published file had, by the journals: of the last owner whose data file is gone.
func (s *Shard) publisher(journals []journal) string {
	best, name := uint64(0), ""
	for _, j := range journals {
		data := workName(s.no, j.Epoch, dataKind) + fencedEnd
		if _, err := s.store.fs.Stat(s.store.at.work(data)); vfs.IsNotExist(err) && (name == "" || j.Epoch > best) {
			best, name = j.Epoch, data
		}
	}
	return name
}

// unpublish takes its final name from a file whose index is damaged: what its journal knows is copied as from any other
// former owner's.
func (s *Shard) unpublish(name string) error {
	from := s.store.at.shardFile(s.no)
	if err := s.store.fs.Rename(from, s.store.at.work(name)); err != nil {
		return err
	}
	if err := s.store.fs.SyncDir(filepath.Dir(from)); err != nil {
		return err
	}
	return s.store.fs.SyncDir(s.store.at.join(workDir))
}

// fromColumns is the record of a frame of a published shard whose journal is gone: of one that was sealed and has lost
// its states.
func (s *Shard) fromColumns(i uint64, sp span) (record, error) {
	rec := record{Seq: s.first + i, Offset: sp.offset, Size: sp.size}
	for _, c := range columns() {
		if c.take == nil {
			continue
		}
		b, err := readColumn(s.store.fs, s.store.at, c, s.no, s.store.spec.ShardFrames)
		if err != nil {
			return rec, fmt.Errorf("no journal knows frame %d of the published shard, and its column %s: %w", rec.Seq, c.name, err)
		}
		c.take(b[i*uint64(c.size):], &rec)
	}
	return rec, nil
}

func (s *Shard) setStage(st stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage = max(s.stage, st)
}

// copyFrames takes over the frames that former owners made durable and whose chunks are whole. Those of which nobody was
// told that they are durable come again.
func (s *Shard) copyFrames(ctx context.Context, journals []journal) error {
	var recs []record
	taken := map[uint64]bool{}
	for _, j := range journals {
		f, err := s.store.fs.OpenFile(s.store.at.work(workName(s.no, j.Epoch, dataKind)+fencedEnd), 0)
		if vfs.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		got, err := s.copyFrom(ctx, f, j.Records[:j.Promised], taken)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		recs = append(recs, got...)
	}
	if len(recs) == 0 {
		return nil
	}
	return s.record(recs)
}

// noteDamaged keeps what journals promise and no file had.
func (s *Shard) noteDamaged(journals []journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range journals {
		for _, r := range j.Records[:j.Promised] {
			if s.state[r.Seq-s.first] != frames.Durable {
				s.damaged = append(s.damaged, r)
			}
		}
	}
}

// Damaged are the frames that a former owner has acknowledged, perhaps, and whose bytes are not what was written, as
// losses. Who still has such a frame can commit it; else it is to go to the ledger.
func (s *Shard) Damaged() []frames.Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ls []frames.Loss
	seen := map[uint64]bool{}
	for _, r := range s.damaged {
		if s.state[r.Seq-s.first] == frames.Absent && !seen[r.Seq] {
			seen[r.Seq] = true
			ls = append(ls, r.unwritten())
		}
	}
	return ls
}

// copyFrom writes the chunks of one former owner's records into the new file; they are not yet synced.
func (s *Shard) copyFrom(ctx context.Context, f vfs.File, from []record, taken map[uint64]bool) ([]record, error) {
	buf, err := s.store.bounce.get(ctx)
	if err != nil {
		return nil, err
	}
	defer s.store.bounce.put(buf)
	if err := s.store.packing.take(ctx); err != nil {
		return nil, err
	}
	defer s.store.packing.give()
	p := s.newPacker()
	recs, err := s.copyChunks(ctx, f, from, taken, buf, p)
	return recs, errors.Join(err, p.flush(ctx), p.writes.Wait())
}

func (s *Shard) copyChunks(ctx context.Context, f vfs.File, from []record, taken map[uint64]bool, buf []byte, p *packer) ([]record, error) {
	var recs []record
	for _, r := range from {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if taken[r.Seq] {
			continue // whole in another place
		}
		whole, err := readChunk(f, buf, r)
		if err != nil {
			return nil, err
		}
		if !whole {
			continue
		}
		if s.store.stride > 0 {
			err = s.copyDirect(buf, &r)
		} else {
			err = p.add(ctx, buf[:r.Size], &r)
		}
		if err != nil {
			return nil, err
		}
		taken[r.Seq] = true
		recs = append(recs, r)
	}
	return recs, nil
}

func (s *Shard) copyDirect(buf []byte, r *record) error {
	off, err := s.reserve(s.store.stride)
	if err != nil {
		return err
	}
	clear(buf[r.Size:s.store.stride])
	r.Offset = uint64(off)
	_, err = s.data.WriteAt(buf[:s.store.stride], off)
	return err
}

// readChunk reads a record's chunk to the start of buf and reports whether it is what the record says.
func readChunk(f vfs.File, buf []byte, r record) (bool, error) {
	if r.Size == 0 || r.Size > uint64(len(buf)) || r.Offset > 1<<62 {
		return false, nil
	}
	n, err := f.ReadAt(buf[:r.Size], int64(r.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return uint64(n) == r.Size && castagnoli(buf[:r.Size]) == r.CRC, nil
}

// anyDurable reports whether the shard has durable frames.
func (s *Shard) anyDurable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.state {
		if st == frames.Durable {
			return true
		}
	}
	return false
}

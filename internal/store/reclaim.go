package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// formerOwner is what one epoch's owner has left of a shard.
type formerOwner struct {
	journal
	path string // of the journal
	data string // of the data file: in the work folder, or published; empty where it is gone
	// whole are the records whose chunks are what they say, by seq.
	whole map[uint64]record
}

// unkept is a frame that a journal has and whose chunk is nowhere whole.
type unkept struct {
	record
	promised bool // it was durable once: else a crash cut its commit short
}

// reclaim makes the shard the caller's with what its former owners made durable. missing has the frames that are unkept.
func (r *recovery) reclaim(ctx context.Context, no uint64, found *RecoveredShard) (sh *Shard, missing map[uint64]unkept, err error) {
	owners, next, err := r.owners(ctx, no)
	if err != nil {
		return nil, nil, err
	}
	missing = map[uint64]unkept{}
	for _, o := range owners {
		found.Owners++
		found.TornRecords, found.BadRecords = found.TornRecords+o.Torn, found.BadRecords+o.Damaged
		for i, rec := range o.Records {
			missing[rec.Seq] = unkept{rec, missing[rec.Seq].promised || i < o.Promised}
		}
	}
	for _, o := range owners {
		for seq := range o.whole {
			delete(missing, seq)
		}
	}
	asItIs := len(owners) == 0 || len(owners[0].whole) == 0
	if i := slices.IndexFunc(owners, func(o formerOwner) bool { return o.data == r.store.at.shardFile(no) }); i >= 0 {
		if asItIs, err = r.sound(owners[i]); err != nil {
			return nil, nil, err
		}
	}
	if asItIs {
		// Nothing is to be moved: a new owner, as in a run that goes on.
		sh, err = r.store.TakeShard(ctx, no, next)
		return sh, missing, err
	}
	sh, err = r.adopt(ctx, no, owners)
	return sh, missing, err
}

// sound reports whether a shard's published file has a whole index, of whole chunks alone.
func (r *recovery) sound(o formerOwner) (bool, error) {
	f, err := r.store.fs.OpenFile(o.data, 0)
	if err != nil {
		return false, err
	}
	spans, err := readIndex(f, o.ShardFrames)
	if err := errors.Join(err, f.Close()); err != nil {
		if errors.Is(err, ErrCorrupt) {
			err = nil
		}
		return false, err
	}
	for i, sp := range spans {
		if rec := o.whole[o.Shard*o.ShardFrames+uint64(i)]; !sp.empty() && sp != (span{rec.Offset, rec.Size}) {
			return false, nil
		}
	}
	return true, nil
}

// owners finds what the former owners of a shard have left, the one with the most whole frames first, and an epoch
// that nobody had.
func (r *recovery) owners(ctx context.Context, no uint64) (owners []formerOwner, next uint64, err error) {
	s := r.store
	sh := &Shard{store: s, no: no}
	ws, err := sh.files()
	if err != nil {
		return nil, 0, err
	}
	_, err = s.fs.Stat(s.at.shardFile(no))
	if ignoreNotExist(err) != nil {
		return nil, 0, err
	}
	published := err == nil
	names := map[string]bool{}
	for _, w := range ws {
		names[w.name] = true
		next = max(next, w.epoch+1)
	}
	next = max(next, 1)
	for _, w := range ws {
		if w.kind != journalKind {
			continue
		}
		o := formerOwner{path: s.at.work(w.name), whole: map[uint64]record{}}
		if published {
			o.data = s.at.shardFile(no)
		}
		for _, name := range []string{workName(no, w.epoch, dataKind), workName(no, w.epoch, dataKind) + fencedEnd} {
			if names[name] {
				o.data = s.at.work(name)
			}
		}
		o.journal, err = readJournal(s.fs, o.path, vfs.Direct, journalOf(s.spec, no, w.epoch))
		switch {
		case errors.Is(err, ErrCorrupt):
			continue // it died before its first commit, or it is of something else
		case err != nil:
			return nil, 0, err
		}
		if err := r.check(ctx, o); err != nil {
			return nil, 0, err
		}
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b formerOwner) int {
		if n := len(b.whole) - len(a.whole); n != 0 {
			return n
		}
		return int(b.Epoch) - int(a.Epoch)
	})
	return owners, next, nil
}

// check reads what an owner's journal promises and notes what is there.
func (r *recovery) check(ctx context.Context, o formerOwner) error {
	if o.data == "" {
		return nil
	}
	// What the kernel remembers of a file whose sync failed is not what a reader finds after the next start.
	f, err := r.store.fs.OpenFile(o.data, vfs.Direct)
	if err != nil {
		return ignoreNotExist(err)
	}
	defer f.Close()
	w := newWindow(f, Attributes{Spec: r.store.spec})
	for _, rec := range o.Records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !rec.plausible(uint64(r.store.maxChunk())) {
			continue
		}
		crc, err := w.crc(span{rec.Offset, rec.Size})
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
		case err != nil:
			return err
		case crc == rec.CRC:
			o.whole[rec.Seq] = rec
		}
	}
	return nil
}

// adopt completes the file of the former owner that has the most, with what the others have beyond it. The caller is
// the only one who works on the store.
func (r *recovery) adopt(ctx context.Context, no uint64, owners []formerOwner) (*Shard, error) {
	sh, err := newShard(r.store, no, owners[0].Epoch)
	if err != nil {
		return nil, err
	}
	if err := r.fill(ctx, sh, owners); err != nil {
		return nil, errors.Join(err, sh.closeFiles())
	}
	return sh, nil
}

// fill opens the files of the first owner as the shard's own, and adds what only others have.
func (r *recovery) fill(ctx context.Context, sh *Shard, owners []formerOwner) error {
	s, best := r.store, owners[0]
	if err := r.restoreNames(best); err != nil {
		return err
	}
	var err error
	if sh.data, err = s.fs.OpenFile(s.at.work(workName(sh.no, best.Epoch, dataKind)), vfs.Write); err != nil {
		return err
	}
	f, err := s.fs.OpenFile(s.at.work(workName(sh.no, best.Epoch, journalKind)), vfs.Write)
	if err != nil {
		return err
	}
	sh.journal = &journalFile{f: f, end: best.end}
	taken := map[uint64]bool{}
	var recs []record
	for _, rec := range best.Records {
		if best.whole[rec.Seq] != rec {
			continue
		}
		taken[rec.Seq] = true
		recs = append(recs, rec)
		sh.space.end = max(sh.space.end, vfs.Pad(int64(rec.Offset+rec.Size)))
	}
	sh.markDurable(recs)
	if recs, err = sh.copyOthers(ctx, owners[1:], taken); err != nil {
		return err
	}
	// What can be read was perhaps never synced: the disk has it for sure only after this.
	if err := sh.record(recs); err != nil {
		return err
	}
	return sh.relyOn(r.losses.within(sh.first, sh.first+s.spec.ShardFrames))
}

// restoreNames gives an owner's files the names that they had before a fence, or before a file was published that is
// not sound.
func (r *recovery) restoreNames(o formerOwner) error {
	s := r.store
	for have, kind := range map[string]string{o.data: dataKind, o.path: journalKind} {
		want := s.at.work(workName(o.Shard, o.Epoch, kind))
		if have == want {
			continue
		}
		if err := s.fs.Rename(have, want); err != nil {
			return err
		}
		if err := s.fs.SyncDir(filepath.Dir(have)); err != nil {
			return err
		}
	}
	return s.fs.SyncDir(s.at.join(workDir))
}

// copyOthers writes the frames that other owners have, and taken has not, behind the last chunk; they are not yet
// synced.
func (s *Shard) copyOthers(ctx context.Context, owners []formerOwner, taken map[uint64]bool) ([]record, error) {
	var recs []record
	for _, o := range owners {
		if !slices.ContainsFunc(o.Records, func(r record) bool { return !taken[r.Seq] && o.whole[r.Seq] == r }) {
			continue
		}
		f, err := s.store.fs.OpenFile(o.data, 0)
		if err != nil {
			return nil, err
		}
		got, err := s.copyFrom(ctx, f, o.Records, taken)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("copying frames of epoch %d: %w", o.Epoch, err)
		}
		recs = append(recs, got...)
	}
	return recs, nil
}

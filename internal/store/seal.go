package store

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Seal completes a shard whose every frame below end is durable or in a ledger: index, final name, columns, the
// arrays' lengths, and only then the journal goes. end is the first seq that the shard will not have: of the next
// shard, or of none where the run is over. When it returns nil everything is durable.
//
// It may be called again after an error, except one that wraps ErrFenced (another owner has the shard, and
// nothing that it sees was changed) or ErrBroken. ErrIncomplete means that frames are missing.
func (s *Shard) Seal(ctx context.Context, end uint64) error {
	if err := s.store.withSpare(func() error { return s.seal(ctx, end) }); err != nil {
		return fmt.Errorf("sealing shard %d: %w", s.no, err)
	}
	return nil
}

// Each step is one round of syncs, asked for together: what the next step must not overtake is durable before it begins.
func (s *Shard) seal(ctx context.Context, end uint64) error {
	at, err := s.beginSeal(end)
	if err != nil {
		return err
	}
	mark := s.capturedMark()
	temps := s.columnFiles()
	if err := s.prepareSeal(at, mark, temps); err != nil {
		return err
	}
	if at < stagePublished {
		if err := s.publish(); err != nil {
			return err
		}
		s.setStage(stagePublished)
	}
	if at < stageSealed {
		if err := s.overtaken(); err != nil {
			return err
		}
	}
	if err := s.name(at, mark, temps); err != nil {
		return err
	}
	s.setStage(stageSealed)
	if !s.alone { // else who works on the store makes the arrays grow in the end, once
		if err := s.store.grow(ctx, end); err != nil {
			return err
		}
	}
	return s.cleanUp()
}

// prepareSeal makes durable all that will get its final name: the data file's index, the columns, and the mark; and the
// folders: a name in one that a crash takes away would take the file with it.
func (s *Shard) prepareSeal(at stage, mark *capturedMark, columns []replacement) error {
	var g errgroup.Group
	if at < stagePublished && s.anyDurable() {
		// It gives back what the file has of the disk beyond its frames: the others may need that.
		switch err := s.writeIndex(); {
		case vfs.IsFull(err) && s.usable() == nil:
			return err // what was written of the index is behind all that counts
		case err != nil:
			return s.fail(err)
		}
		g.Go(s.syncIndex)
		g.Go(s.makeFolders)
	}
	var temps []replacement
	if at < stageSealed {
		temps = columns
	}
	if mark != nil {
		temps = append(temps[:len(temps):len(temps)], mark.replacement)
	}
	g.Go(func() error { return s.lostWork("writing the columns", prepare(s.store.fs, temps...)) })
	return g.Wait()
}

// makeFolders makes the folders of the shard's file.
func (s *Shard) makeFolders() error {
	st := s.store
	folders := st.at.shardFolders(s.no)
	for _, d := range folders[1:] {
		if err := st.fs.Mkdir(d); err != nil && !vfs.IsExist(err) {
			return err
		}
	}
	return syncDirs(st.fs, folders[:len(folders)-1]...)
}

func (s *Shard) beginSeal(end uint64) (stage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage == stageOpen && s.broken != nil {
		return 0, s.broken
	}
	if n := s.missing(end); n > 0 {
		return 0, fmt.Errorf("%w: %d of them", ErrIncomplete, n)
	}
	return s.stage, nil
}

// publish gives the complete data file its final name. A shard without a durable frame has no file: its owner proves that
// it still is the owner by renaming the empty one within the work folder.
func (s *Shard) publish() error {
	st := s.store
	from, to := st.at.work(workName(s.no, s.epoch, dataKind)), s.lostPath()
	if s.anyDurable() {
		to = st.at.shardFile(s.no)
	}
	switch err := st.fs.RenameNew(from, to); {
	case vfs.IsExist(err):
		return fmt.Errorf("%w: it was published by another: %w", ErrFenced, err)
	case vfs.IsNotExist(err) && s.gone(from):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	default:
		return err
	}
}

// gone reports whether an own file has lost its name to another owner, and not with the whole store.
func (s *Shard) gone(path string) bool {
	_, err := s.store.fs.Stat(path)
	_, root := s.store.fs.Stat(s.store.at.join(metaName))
	return vfs.IsNotExist(err) && root == nil
}

// overtaken returns ErrFenced where a newer owner has the shard: it may have taken a published file back whose index was
// damaged, and other columns are right then.
func (s *Shard) overtaken() error {
	if s.alone {
		return nil
	}
	ws, err := s.files()
	if err != nil {
		if vfs.IsNotExist(err) && s.gone(s.store.at.join(workDir)) {
			return fmt.Errorf("%w: %w", ErrFenced, err) // the store was finished meanwhile
		}
		return err
	}
	for _, w := range ws {
		if w.kind == journalKind && w.epoch > s.epoch {
			return fmt.Errorf("%w: epoch %d", ErrFenced, w.epoch)
		}
	}
	return nil
}

// writeIndex puts the index behind the last chunk and cuts the file after it.
func (s *Shard) writeIndex() error {
	if s.indexed {
		return nil
	}
	spans := make([]span, len(s.state))
	s.mu.Lock()
	for i := range spans {
		spans[i] = span{noChunk, noChunk}
		if s.state[i] == frames.Durable {
			spans[i] = span{s.recs[i].Offset, s.recs[i].Size}
		}
	}
	s.mu.Unlock()
	index := encodeIndex(spans)
	b := vfs.Alloc(int(vfs.Pad(int64(len(index)))))
	copy(b, index)
	s.sealing = true
	off, err := s.reserve(int64(len(b)))
	if err != nil {
		return err
	}
	if _, err := s.data.WriteAt(b, off); err != nil {
		return err
	}
	return s.data.Truncate(off + int64(len(index)))
}

func (s *Shard) syncIndex() error {
	if s.indexed {
		return nil
	}
	if err := s.store.synced(s.data.Sync); err != nil {
		return s.fail(err)
	}
	s.indexed = true
	return nil
}

// columnFiles are the shard's chunk of each column, the states last.
func (s *Shard) columnFiles() (list []replacement) {
	s.mu.Lock()
	state, recs := append([]frames.State(nil), s.state...), append([]record(nil), s.recs...)
	s.mu.Unlock()
	for _, c := range columns() {
		temp := s.store.at.work(workName(s.no, s.epoch, filepath.Base(c.name)))
		list = append(list, replacement{temp, s.store.at.columnChunk(c.name, s.no), encodeColumn(c, state, recs)})
	}
	return list
}

// name gives the columns and the mark their names and makes these durable with the data file's, and after that the
// states': where they are, the rest is.
func (s *Shard) name(at stage, mark *capturedMark, columns []replacement) error {
	st, last := s.store, len(columns)-1
	folders := []string{st.at.join(workDir)}
	if s.anyDurable() {
		folders = append(folders, st.at.shardFolders(s.no)...)
	}
	err := mark.name(st)
	switch {
	case err != nil:
	case at < stageSealed:
		if err = rename(st.fs, columns[:last], folders...); err == nil {
			err = rename(st.fs, columns[last:])
		}
	default: // a former owner may have died before the name of the states was durable
		err = syncDirs(st.fs, append(folders, st.at.columnChunks(colState))...)
	}
	if err != nil {
		return s.lostWork("writing the columns", err)
	}
	mark.settle(st)
	return nil
}

// lostWork says what an error of a step means where the work folder is gone: another has finished the store.
func (s *Shard) lostWork(step string, err error) error {
	switch {
	case err == nil:
		return nil
	case vfs.IsNotExist(err) && s.gone(s.store.at.join(workDir)):
		return fmt.Errorf("%s: %w: %w", step, ErrFenced, err)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// cleanUp removes what the work folder has of the shard from this and former owners.
func (s *Shard) cleanUp() error {
	s.mu.Lock()
	err := s.closeFiles()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	ws, err := s.files()
	if err != nil {
		return ignoreNotExist(err)
	}
	for _, w := range ws {
		if w.epoch > s.epoch {
			continue
		}
		if err := ignoreNotExist(s.store.fs.Remove(s.store.at.work(w.name))); err != nil {
			return err
		}
	}
	return nil
}

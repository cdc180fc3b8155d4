package store

import (
	"context"
	"fmt"
	"path/filepath"

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

func (s *Shard) seal(ctx context.Context, end uint64) error {
	at, err := s.beginSeal(end)
	if err != nil {
		return err
	}
	if at < stagePublished {
		if err := s.publish(); err != nil {
			return err
		}
		s.setStage(stagePublished)
	}
	if at < stageSealed {
		if err := s.syncFolders(); err != nil {
			return err
		}
		if err := s.overtaken(); err != nil {
			return err
		}
		if err := s.writeColumns(); err != nil {
			return err
		}
		s.setStage(stageSealed)
	} else {
		// A former owner may have died before the name of the states was durable.
		if err := syncDirs(s.store.fs, s.store.at.columnChunks(colState), s.store.at.join(workDir)); err != nil {
			return err
		}
	}
	if !s.alone { // else who works on the store makes the arrays grow in the end, once
		if err := s.store.grow(ctx); err != nil {
			return err
		}
	}
	return s.cleanUp()
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

// publish completes the data file and gives it its final name. A shard without a durable frame has no file: its
// owner proves that it still is the owner by renaming the empty one within the work folder.
func (s *Shard) publish() error {
	st := s.store
	from, to := st.at.work(workName(s.no, s.epoch, dataKind)), s.lostPath()
	if s.anyDurable() {
		switch err := s.writeIndex(); {
		case vfs.IsFull(err) && s.usable() == nil:
			return err // what was written of the index is behind all that counts
		case err != nil:
			return s.fail(err)
		}
		to = st.at.shardFile(s.no)
		// A name in a folder that a crash takes away would take the file with it.
		folders := st.at.shardFolders(s.no)
		for _, d := range folders[1:] {
			if err := st.fs.Mkdir(d); err != nil && !vfs.IsExist(err) {
				return err
			}
		}
		if err := syncDirs(st.fs, folders[:len(folders)-1]...); err != nil {
			return err
		}
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

// syncFolders makes the name that publish gave durable.
func (s *Shard) syncFolders() error {
	folders := []string{s.store.at.join(workDir)}
	if s.anyDurable() {
		folders = append(folders, s.store.at.shardFolders(s.no)...)
	}
	return syncDirs(s.store.fs, folders...)
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
	if err := s.data.Truncate(off + int64(len(index))); err != nil {
		return err
	}
	if err := s.store.synced(s.data.Sync); err != nil {
		return s.fail(err)
	}
	s.indexed = true
	return nil
}

// writeColumns writes the shard's chunk of each column, the state when the others are durable.
func (s *Shard) writeColumns() error {
	s.mu.Lock()
	state, recs := append([]frames.State(nil), s.state...), append([]record(nil), s.recs...)
	s.mu.Unlock()
	var list []replacement
	for _, c := range columns() {
		temp := s.store.at.work(workName(s.no, s.epoch, filepath.Base(c.name)))
		list = append(list, replacement{temp, s.store.at.columnChunk(c.name, s.no), encodeColumn(c, state, recs)})
	}
	last := len(list) - 1
	err := prepare(s.store.fs, list...)
	if err == nil {
		err = rename(s.store.fs, list[:last]...)
	}
	if err == nil {
		err = rename(s.store.fs, list[last])
	}
	switch {
	case vfs.IsNotExist(err) && s.gone(s.store.at.join(workDir)):
		return fmt.Errorf("writing the columns: %w: %w", ErrFenced, err)
	case err != nil:
		return fmt.Errorf("writing the columns: %w", err)
	}
	return nil
}

// cleanUp removes what the work folder has of the shard from this and former owners.
func (s *Shard) cleanUp() error {
	if err := s.keepCaptured(); err != nil {
		if vfs.IsNotExist(err) && s.gone(s.store.at.join(workDir)) {
			return nil // the store was finished meanwhile
		}
		return err
	}
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

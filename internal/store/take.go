package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TakeShard makes the caller the owner of a shard under an epoch that was never used for it. It is the fence:
//
//  1. The new owner makes its own journal and data file, which nobody else will ever write to.
//  2. Only then it looks for others. A higher epoch: it leaves again, with ErrFenced. Lower ones: their files get
//     other names, so that a former owner that wakes up can't publish.
//  3. What the former owners made durable is copied, chunk by chunk, after a check of its crc32c.
//
// Of two owners that do this at the same time at least one sees the other. A shard that was published or sealed
// already is taken as it is (Sealed, Missing): Seal completes it.
func (s *Store) TakeShard(ctx context.Context, no, epoch uint64) (*Shard, error) {
	sh, err := s.takeShard(ctx, no, epoch)
	if err != nil {
		return nil, fmt.Errorf("taking shard %d under epoch %d: %w", no, epoch, err)
	}
	return sh, nil
}

func (s *Store) takeShard(ctx context.Context, no, epoch uint64) (*Shard, error) {
	sh, err := newShard(s, no, epoch)
	if err != nil {
		return nil, err
	}
	if err := s.withSpare(sh.createFiles); err != nil {
		return nil, err
	}
	older, err := sh.fence()
	if err == nil {
		err = sh.inherit(ctx, older)
	}
	if err != nil {
		if errors.Is(err, ErrFenced) {
			err = errors.Join(err, sh.removeOwn())
		}
		return nil, errors.Join(err, sh.closeFiles())
	}
	return sh, nil
}

// newShard makes a shard without files of which nothing is known.
func newShard(s *Store, no, epoch uint64) (*Shard, error) {
	k := s.spec.ShardFrames
	if no > (1<<63)/k {
		return nil, fmt.Errorf("%w: no run has so many frames", ErrFrame)
	}
	sh := &Shard{
		store: s, no: no, epoch: epoch, first: no * k,
		state: make([]frames.State, k), recs: make([]record, k),
	}
	sh.sync = newFlight(sh.syncRecords)
	return sh, nil
}

// createFiles makes the owner's own files. They and their names become durable with the first frame or loss: until then
// nobody relies on them, and who else is alive sees them at once. On a full disk it leaves none.
func (s *Shard) createFiles() error {
	err := s.tryCreateFiles()
	if err != nil {
		if vfs.IsFull(err) {
			err = errors.Join(err, s.removeOwn())
		}
		err = errors.Join(err, s.closeFiles())
	}
	return err
}

func (s *Shard) tryCreateFiles() error {
	st := s.store
	var err error
	s.journal, err = createJournal(st.fs, st.at.work(workName(s.no, s.epoch, journalKind)), journalOf(st.spec, s.no, s.epoch))
	if err == nil {
		s.data, err = st.fs.OpenFile(st.at.work(workName(s.no, s.epoch, dataKind)),
			vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
	}
	switch {
	case vfs.IsExist(err):
		return fmt.Errorf("%w: this epoch is in use: %w", ErrFenced, err)
	case vfs.IsNotExist(err):
		if a, metaErr := ReadAttributes(st.fs, st.at.root); metaErr == nil && a.Finished {
			return fmt.Errorf("%w: %w", ErrFinished, err)
		}
		return err
	}
	return err
}

func (s *Shard) removeOwn() error {
	var errs []error
	for _, kind := range []string{dataKind, journalKind} {
		errs = append(errs, ignoreNotExist(s.store.fs.Remove(s.store.at.work(workName(s.no, s.epoch, kind)))))
	}
	return errors.Join(errs...)
}

// files lists what the work folder has of the shard, under every epoch.
func (s *Shard) files() ([]workFile, error) {
	entries, err := s.store.fs.ReadDir(s.store.at.join(workDir))
	if err != nil {
		return nil, err
	}
	var ws []workFile
	for _, e := range entries {
		if w, ok := parseWorkName(e.Name()); ok && w.shard == s.no {
			ws = append(ws, w)
		}
	}
	return ws, nil
}

// fence takes their names from the files of lower epochs, the data files' first, and returns the epochs.
func (s *Shard) fence() (older []uint64, err error) {
	ws, err := s.files()
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	for _, w := range ws {
		if (w.kind == dataKind || w.kind == journalKind) && w.epoch > s.epoch {
			return nil, fmt.Errorf("%w: epoch %d", ErrFenced, w.epoch)
		}
		if w.kind == journalKind && w.epoch < s.epoch && !seen[w.epoch] {
			seen[w.epoch] = true
			older = append(older, w.epoch)
		}
	}
	others := false // who has renamed some of them may have died before the names were durable
	for _, kind := range []string{dataKind, journalKind} {
		for _, w := range ws {
			if w.kind != kind || w.epoch == s.epoch {
				continue
			}
			others = true
			if w.fenced {
				continue
			}
			from := s.store.at.work(w.name)
			// A file that is gone was published or given up this very moment.
			if err := ignoreNotExist(s.store.fs.Rename(from, from+fencedEnd)); err != nil {
				return nil, err
			}
		}
	}
	if !others {
		return older, nil
	}
	return older, s.store.fs.SyncDir(s.store.at.join(workDir))
}

// inherit learns what former owners made durable, and copies their frames where the shard is still open.
func (s *Shard) inherit(ctx context.Context, older []uint64) error {
	switch sealed, err := s.readSealed(); {
	case err != nil:
		return err
	case sealed:
		return nil
	}
	journals := make([]journal, 0, len(older))
	for _, epoch := range older {
		j, err := s.readOlder(epoch)
		switch {
		case vfs.IsNotExist(err) || errors.Is(err, ErrCorrupt):
			continue // it died before its first commit, or its owner gives it up this moment
		case err != nil:
			return err
		}
		s.store.NoteCaptured(j.Captured)
		journals = append(journals, j)
	}
	published, err := s.readPublished(journals)
	switch {
	case err != nil:
		return err
	case !published:
		if err := s.copyFrames(ctx, journals); err != nil {
			return err
		}
		s.noteDamaged(journals)
	}
	if len(older) == 0 && !published {
		return nil // who had the shard before would have left files: no ledger has anything of it
	}
	losses, _, err := readLedgers(s.store.fs, s.store.at)
	if err != nil {
		return err
	}
	if err := s.relyOn(losses); err != nil || published {
		return err
	}
	for _, epoch := range older {
		for _, kind := range []string{dataKind, journalKind} {
			path := s.store.at.work(workName(s.no, epoch, kind) + fencedEnd)
			if err := ignoreNotExist(s.store.fs.Remove(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shard) readOlder(epoch uint64) (journal, error) {
	path := s.store.at.work(workName(s.no, epoch, journalKind) + fencedEnd)
	return readJournal(s.store.fs, path, 0, journalOf(s.store.spec, s.no, epoch))
}

// relyOn takes over what ledgers say of frames that are not durable. It writes it into this writer's own ledger: that
// a line can be read does not say that it is on the disk, and a writer whose sync failed may have left it.
func (s *Shard) relyOn(losses []frames.Loss) error {
	var own []frames.Loss
	s.mu.Lock()
	for _, l := range losses {
		l, ok := clip(l, s.first, s.first+uint64(len(s.state)))
		for ok && l.Count > 0 {
			n := l.Seq
			for n < l.End() && s.state[n-s.first] == frames.Absent {
				n++
			}
			if n > l.Seq {
				part := l
				if n < l.End() {
					part, _ = l.Split(n)
				}
				own = append(own, part)
			}
			if n+1 >= l.End() {
				break
			}
			_, l = l.Split(n + 1)
		}
	}
	s.mu.Unlock()
	if err := s.store.ledger.add(own); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	s.markLost(own)
	return nil
}

// readSealed learns the states of a shard that has its columns.
func (s *Shard) readSealed() (bool, error) {
	states, err := readStates(s.store.fs, s.store.at, s.no, s.store.spec.ShardFrames)
	if vfs.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the states: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range states {
		if st != frames.Absent {
			s.mark(uint64(i), st)
		}
	}
	s.stage = stageSealed
	return true, nil
}

// readStates reads a sealed shard's states, as readColumn does.
func readStates(fs vfs.FS, at layout, shard, k uint64) ([]frames.State, error) {
	b, err := readColumn(fs, at, column{name: colState, size: 1}, shard, k)
	if b == nil {
		return nil, err
	}
	states := make([]frames.State, k)
	for i, v := range b {
		states[i] = frames.State(v)
	}
	return states, err
}

package store

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// Space for what a run needs to end in order on a full disk is set aside when the store is made: a file that holds
// nothing, and is removed when there is no other room. After that no frame is taken any more, by any writer.
const (
	spareName   = "spare"
	spareBase   = 1 << 20 // bytes: ledgers, metadata, journals
	spareShards = 4       // that are open at a time, about
	spareFrame  = 64      // bytes of each of their frames: columns and index

	spareTries = 5
	sparePause = 10 * time.Millisecond
)

// makeSpare sets the space aside. Where the file system can't, there is none.
func makeSpare(fs vfs.FS, at layout, spec run.Spec) error {
	f, err := fs.OpenFile(at.work(spareName), vfs.Write|vfs.Create)
	if err != nil {
		return err
	}
	err = f.Allocate(0, spareBase+spareShards*spareFrame*int64(min(spec.ShardFrames, maxDefaultK)))
	if err == nil {
		return errors.Join(f.Sync(), f.Close())
	}
	if closed := f.Close(); closed != nil || !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(err, closed)
	}
	return fs.Remove(at.work(spareName))
}

// hasSpare reports whether the space that was set aside is untouched.
func (s *Store) hasSpare() (bool, error) {
	_, err := s.fs.Stat(s.at.work(spareName))
	return err == nil, ignoreNotExist(err)
}

// withSpare does something that may be done twice. Where the disk is full it takes the space that was set aside.
func (s *Store) withSpare(do func() error) error {
	err := do()
	if !vfs.IsFull(err) || errors.Is(err, ErrBroken) || !s.spared {
		return err
	}
	if gone := ignoreNotExist(s.fs.Remove(s.at.work(spareName))); gone != nil {
		return err
	}
	err = do()
	for range spareTries {
		if !vfs.IsFull(err) || errors.Is(err, ErrBroken) {
			return err
		}
		<-time.After(sparePause) // another writer gives back what it just took, seeing that the file is gone
		err = do()
	}
	return err
}

// roomForFrames returns an error that vfs.IsFull knows once the space that was set aside is in use: it is not for
// frames.
func (s *Store) roomForFrames() error {
	if !s.spared {
		return nil
	}
	switch untouched, err := s.hasSpare(); {
	case err != nil:
		return err
	case !untouched:
		return fmt.Errorf("what is left of the disk of %s is for metadata: %w", s.at.root, syscall.ENOSPC)
	}
	return nil
}

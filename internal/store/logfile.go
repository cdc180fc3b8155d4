package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// logFile is a file of lines that only grows, opened at the first append. Its methods may be called
// concurrently; other processes may append to the same file.
type logFile struct {
	fs   vfs.FS
	path string

	mu sync.Mutex
	f  vfs.File // guarded by mu; nil until the first append
}

// append writes whole lines, in one operation. They are durable after sync.
func (l *logFile) append(lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return fmt.Errorf("opening %s: %w", l.path, err)
	}
	if err := l.f.Append(lines); err != nil {
		// Part of a line may be there: the next append opens the file anew, which ends it.
		err = errors.Join(err, l.f.Close())
		l.f = nil
		return fmt.Errorf("appending to %s: %w", l.path, err)
	}
	return nil
}

// sync makes what was appended durable.
func (l *logFile) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	return l.f.Datasync()
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// open opens the file and ends a line that was torn by a crash, so that it spoils none of ours. The caller
// holds mu.
func (l *logFile) open() error {
	if l.f != nil {
		return nil
	}
	f, err := l.fs.OpenFile(l.path, vfs.Append|vfs.Create)
	if err != nil {
		return err
	}
	if err := endLine(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := l.fs.SyncDir(filepath.Dir(l.path)); err != nil {
		return errors.Join(err, f.Close())
	}
	l.f = f
	return nil
}

func endLine(f vfs.File) error {
	size, err := f.Size()
	if err != nil || size == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	return f.Append([]byte{'\n'})
}

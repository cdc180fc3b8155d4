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

	mu   sync.Mutex
	f    vfs.File // guarded by mu, as torn; nil until the first append
	torn bool     // nobody knows what the disk has of the last lines
}

// append writes whole lines, in one operation. They are durable after sync.
func (l *logFile) append(lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return fmt.Errorf("opening %s: %w", l.path, err)
	}
	if err := l.f.Append(lines); err != nil {
		l.tear()
		return fmt.Errorf("appending to %s: %w", l.path, err)
	}
	return nil
}

// tear has the next append open the file anew and begin a line, whatever the last ones have become. The caller holds
// mu.
func (l *logFile) tear() {
	_ = l.f.Close() // the file has failed already
	l.f, l.torn = nil, true
}

// sync makes what was appended durable.
func (l *logFile) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	if err := l.f.Datasync(); err != nil {
		l.tear()
		return fmt.Errorf("syncing %s: %w", l.path, err)
	}
	return nil
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
	if err := endLine(f, l.torn); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := l.fs.SyncDir(filepath.Dir(l.path)); err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.torn = f, false
	return nil
}

// endLine ends the last line, where it has no end or where anyway is set: an empty line means nothing.
func endLine(f vfs.File, anyway bool) error {
	if anyway {
		return f.Append([]byte{'\n'})
	}
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

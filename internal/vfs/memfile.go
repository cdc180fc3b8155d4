package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// memFile is an open file of a Mem.
type memFile struct {
	m    *Mem
	n    *node
	path string
	flag Flag
}

var _ File = (*memFile)(nil)

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	data := f.n.data
	if f.flag&Direct != 0 {
		if err := checkAligned(f.path, off, b); err != nil {
			return 0, err
		}
		// The kernel writes what it has to write, and reads what the disk has then.
		data = f.n.disk.clone()
		for _, c := range f.n.dirty {
			c.apply(&data)
		}
	}
	n := data.read(b, off)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.data.size, nil
}

func (f *memFile) Removed() (bool, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.names == 0, nil
}

func (f *memFile) Direct() error {
	if f.flag&Direct == 0 {
		return errNotAsked
	}
	return nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if f.flag&Append != 0 {
		return 0, f.failed("write", errors.New("the file was opened for appending"))
	}
	if err := f.WriteVec([][]byte{b}, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *memFile) WriteVec(bs [][]byte, off int64) error {
	if f.flag&Direct != 0 {
		if err := checkAligned(f.path, off, bs...); err != nil {
			return err
		}
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for _, b := range bs {
		if err := f.write(b, off); err != nil {
			return f.failed("write", err)
		}
		off += int64(len(b))
	}
	return nil
}

func (f *memFile) Append(b []byte) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.failed("write", f.write(b, f.n.data.size))
}

// write changes the file. The caller holds the file system's mutex.
func (f *memFile) write(b []byte, off int64) error {
	if f.flag&(Write|Append) == 0 {
		return syscall.EBADF
	}
	if err := f.room(off + int64(len(b))); err != nil {
		return err
	}
	f.n.write(b, off)
	f.m.charge(f.n)
	return nil
}

// room refuses to let the file become longer than the disk has room for.
func (f *memFile) room(size int64) error {
	if more := Pad(size) - f.n.charged; f.m.limit > 0 && more > 0 && f.m.used+more > f.m.limit {
		return syscall.ENOSPC
	}
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.flag&Write == 0 {
		return f.failed("truncate", syscall.EINVAL)
	}
	if err := f.room(size); err != nil {
		return f.failed("truncate", err)
	}
	f.n.resize(size)
	f.m.charge(f.n)
	return nil
}

func (f *memFile) Allocate(off, n int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	size := max(f.n.data.size, off+n)
	err := f.room(size)
	switch {
	case f.flag&Write == 0:
		err = syscall.EBADF
	case err == nil:
		f.n.resize(size)
		f.m.charge(f.n)
	}
	return f.failed("fallocate", err)
}

func (f *memFile) Datasync() error { return f.Sync() }

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.sync()
	return nil
}

// drop is a sync that failed as Linux' may: what it was to write is taken for written, and only some of it is.
func (f *memFile) drop(seed uint64) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	r := newChance(seed)
	r.rng = rand.New(rand.NewPCG(seed, uint64(len(f.n.dirty))))
	f.n.disk, f.n.dirty = f.n.torn(r), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.handles--
	f.m.charge(f.n)
	return nil
}

func (f *memFile) failed(op string, err error) error { return pathError(op, f.path, err) }

// lockHolders is more shared holders than a lock ever has.
const lockHolders = 1 << 30

// lock takes a lock for so many holders at once, and asks again each millisecond.
func (m *Mem) lock(ctx context.Context, path string, holders int) (io.Closer, error) {
	opened, err := m.OpenFile(path, Write|Create)
	if err != nil {
		return nil, err
	}
	f, ok := opened.(*memFile)
	if !ok {
		return nil, &fs.PathError{Op: "lock", Path: path, Err: syscall.EBADF}
	}
	for {
		m.mu.Lock()
		free := f.n.locked+holders <= lockHolders
		if free {
			f.n.locked += holders
		}
		m.mu.Unlock()
		if free {
			return &memLock{f: f, holders: holders}, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("locking %s: %w: %w", path, ErrLocked, ctx.Err()), f.Close())
		case <-time.After(time.Millisecond):
		}
	}
}

// memLock is a lock that is held.
type memLock struct {
	f       *memFile
	holders int
	once    sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.f.m.mu.Lock()
		l.f.n.locked -= l.holders
		l.f.m.mu.Unlock()
		_ = l.f.Close() // a file in memory closes without an error
	})
	return nil
}

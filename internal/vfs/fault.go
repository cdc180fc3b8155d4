package vfs

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// Injection is what becomes of one operation of a Fault.
type Injection uint8

// The injections.
const (
	Pass  Injection = iota // nothing
	IO                     // it fails with EIO and does nothing; a sync may have dropped what it was to write
	Full                   // it fails with ENOSPC and does nothing
	Short                  // a write stops in the middle and fails with EIO; anything else passes
	Late                   // it does all it should, and fails with EIO
	Slow                   // it answers after a while
)

// String is the name of an injection.
func (i Injection) String() string {
	return [...]string{"pass", "EIO", "ENOSPC", "short write", "EIO when it is done", "slow"}[i]
}

// Op is one operation of a Fault.
type Op struct {
	N    int    // its number, from 0
	Name string // the method's
	Path string
}

// Fault is a file system whose operations, and those of its files and locks, are counted and can fail.
type Fault struct {
	fs    FS
	plan  func(Op) Injection
	delay time.Duration
	count atomic.Int64
}

var _ FS = (*Fault)(nil)

// NewFault stands before fs. plan, if not nil, is asked before every operation, by as many goroutines as there are
// operations at a time. Slow operations take delay longer.
func NewFault(fs FS, delay time.Duration, plan func(Op) Injection) *Fault {
	if plan == nil {
		plan = func(Op) Injection { return Pass }
	}
	return &Fault{fs: fs, plan: plan, delay: delay}
}

// Count is how many operations there were.
func (f *Fault) Count() int { return int(f.count.Load()) }

// do does one operation as planned.
func (f *Fault) do(name, path string, op func() error) error {
	in, err := f.before(name, path)
	if err != nil {
		return err
	}
	return in.after(name, path, op())
}

// before counts an operation and returns the error of one that does nothing.
func (f *Fault) before(name, path string) (Injection, error) {
	in := f.plan(Op{int(f.count.Add(1)) - 1, name, path})
	switch in {
	case IO:
		return in, &fs.PathError{Op: name, Path: path, Err: syscall.EIO}
	case Full:
		return in, &fs.PathError{Op: name, Path: path, Err: syscall.ENOSPC}
	case Slow:
		<-time.After(f.delay)
	}
	return in, nil
}

// after is the error of an operation that was done.
func (i Injection) after(name, path string, err error) error {
	if err == nil && i == Late {
		err = &fs.PathError{Op: name, Path: path, Err: fmt.Errorf("%w, after it was done", syscall.EIO)}
	}
	return err
}

// OpenFile implements [Files].
func (f *Fault) OpenFile(path string, flag Flag) (File, error) {
	var file File
	err := f.do("open", path, func() (err error) { file, err = f.fs.OpenFile(path, flag); return err })
	if err != nil {
		if file != nil {
			_ = file.Close() // the error that is told is the operation's
		}
		return nil, err
	}
	return &faultFile{File: file, fs: f, path: path}, nil
}

// Rename implements [Files].
func (f *Fault) Rename(from, to string) error {
	return f.do("rename", to, func() error { return f.fs.Rename(from, to) })
}

// RenameNew implements [Files].
func (f *Fault) RenameNew(from, to string) error {
	return f.do("rename new", to, func() error { return f.fs.RenameNew(from, to) })
}

// Remove implements [Files].
func (f *Fault) Remove(path string) error {
	return f.do("remove", path, func() error { return f.fs.Remove(path) })
}

// Stat implements [Files].
func (f *Fault) Stat(path string) (info fs.FileInfo, err error) {
	err = f.do("stat", path, func() (err error) { info, err = f.fs.Stat(path); return err })
	return info, err
}

// Mkdir implements [Folders].
func (f *Fault) Mkdir(path string) error {
	return f.do("mkdir", path, func() error { return f.fs.Mkdir(path) })
}

// ReadDir implements [Folders].
func (f *Fault) ReadDir(path string) (list []fs.DirEntry, err error) {
	err = f.do("read folder", path, func() (err error) { list, err = f.fs.ReadDir(path); return err })
	return list, err
}

// SyncDir implements [Folders].
func (f *Fault) SyncDir(path string) error {
	return f.do("sync folder", path, func() error { return f.fs.SyncDir(path) })
}

// Free implements [Volume].
func (f *Fault) Free(path string) (n uint64, err error) {
	err = f.do("statfs", path, func() (err error) { n, err = f.fs.Free(path); return err })
	return n, err
}

// Lock implements [Volume].
func (f *Fault) Lock(ctx context.Context, path string) (io.Closer, error) {
	return f.lock(func() (io.Closer, error) { return f.fs.Lock(ctx, path) }, "lock", path)
}

// LockShared implements [Volume].
func (f *Fault) LockShared(ctx context.Context, path string) (io.Closer, error) {
	return f.lock(func() (io.Closer, error) { return f.fs.LockShared(ctx, path) }, "lock shared", path)
}

func (f *Fault) lock(take func() (io.Closer, error), name, path string) (io.Closer, error) {
	var held io.Closer
	err := f.do(name, path, func() (err error) { held, err = take(); return err })
	if err != nil && held != nil {
		_ = held.Close() // the error that is told is the operation's
		return nil, err
	}
	return held, err
}

package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system. Its zero value is ready to use.
type OS struct{}

var _ FS = OS{}

// OpenFile implements [Files].
func (OS) OpenFile(path string, flag Flag) (File, error) {
	f, err := os.OpenFile(path, osFlags(flag), 0o644)
	var refused error
	if flag&Direct != 0 && errors.Is(err, unix.EINVAL) {
		// The file may have been made by the refused call: exclusiveness was decided then.
		refused = fmt.Errorf("open with O_DIRECT: %w", unix.EINVAL)
		flag &^= Direct | Exclusive
		f, err = os.OpenFile(path, osFlags(flag), 0o644)
	}
	if err != nil {
		return nil, err
	}
	o := &osFile{f: f, fd: int(f.Fd()), aligned: flag&Direct != 0 || refused != nil}
	switch {
	case refused != nil:
		o.refused.Store(&refused)
	case flag&Direct == 0:
		err := errNotAsked
		o.refused.Store(&err)
	}
	return o, nil
}

func osFlags(flag Flag) int {
	o := os.O_RDONLY
	if flag&(Write|Append) != 0 {
		o = os.O_RDWR
	}
	o |= unix.O_NONBLOCK // a pipe in a file's place must not have open wait; for files it means nothing
	for _, p := range []struct {
		flag Flag
		os   int
	}{{Create, os.O_CREATE}, {Exclusive, os.O_EXCL}, {Clear, os.O_TRUNC}, {Append, os.O_APPEND}, {Direct, unix.O_DIRECT}} {
		if flag&p.flag != 0 {
			o |= p.os
		}
	}
	return o
}

// Rename implements [Files].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// RenameNew implements [Files]. Where the file system can't rename without replacing, a file is linked and
// unlinked instead, and a folder renamed after a look, since a folder that is not empty is never replaced.
func (OS) RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return linkError("rename", from, to, err)
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	if _, err := os.Lstat(to); err == nil {
		return linkError("rename", from, to, unix.EEXIST)
	}
	return os.Rename(from, to)
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// Remove implements [Files].
func (OS) Remove(path string) error { return os.Remove(path) }

// Stat implements [Files].
func (OS) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

// Mkdir implements [Folders].
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o755) }

// ReadDir implements [Folders].
func (OS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// SyncDir implements [Folders].
func (OS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Free implements [Volume].
func (OS) Free(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Lock implements [Volume] with flock.
func (OS) Lock(ctx context.Context, path string) (io.Closer, error) {
	return flock(ctx, path, unix.LOCK_EX)
}

// LockShared implements [Volume] with flock.
func (OS) LockShared(ctx context.Context, path string) (io.Closer, error) {
	return flock(ctx, path, unix.LOCK_SH)
}

// flock takes a lock. The kernel can't wake a waiter by a context, so it asks again and again, at most 20 ms apart.
func flock(ctx context.Context, path string, how int) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("locking %s: %w: %w", path, ErrLocked, ctx.Err()), f.Close())
		case <-time.After(wait):
		}
	}
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

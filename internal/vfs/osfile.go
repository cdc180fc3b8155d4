package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

var errNotAsked = errors.New("direct access was not asked for")

// maxVec is the most pieces that the kernel takes in one vectored write (IOV_MAX).
const maxVec = 1024

type osFile struct {
	f  *os.File
	fd int
	// aligned holds callers to the rules of direct access, also where the file system refused it, so that a
	// mistake shows on every file system.
	aligned bool
	refused atomic.Pointer[error] // why access is not direct
}

var _ File = (*osFile)(nil)

func (o *osFile) Close() error { return o.f.Close() }

func (o *osFile) ReadAt(b []byte, off int64) (int, error) {
	if err := o.check(off, b); err != nil {
		return 0, err
	}
	if o.Direct() != nil {
		return o.f.ReadAt(b, off)
	}
	for {
		// One call: what os.File would read again behind a short read is not aligned any more.
		n, err := unix.Pread(o.fd, b, off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EINVAL) && o.undirect("read"):
			return o.f.ReadAt(b, off)
		case err != nil:
			return 0, &os.PathError{Op: "pread", Path: o.f.Name(), Err: err}
		case n < len(b) && n%Block == 0 && n > 0:
			// A short read in the middle, which the kernel may give.
			more, err := o.ReadAt(b[n:], off+int64(n))
			return n + more, err
		case n < len(b):
			return n, io.EOF
		}
		return n, nil
	}
}

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o *osFile) Removed() (bool, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(o.fd, &st) }); err != nil {
		return false, &os.PathError{Op: "fstat", Path: o.f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}

func (o *osFile) Direct() error {
	if p := o.refused.Load(); p != nil {
		return *p
	}
	return nil
}

func (o *osFile) WriteAt(b []byte, off int64) (int, error) {
	if err := o.check(off, b); err != nil {
		return 0, err
	}
	n, err := o.f.WriteAt(b, off)
	if errors.Is(err, unix.EINVAL) && o.undirect("write") {
		n, err = o.f.WriteAt(b, off)
	}
	return n, err
}

func (o *osFile) WriteVec(bs [][]byte, off int64) error {
	if err := o.check(off, bs...); err != nil {
		return err
	}
	rest := make([][]byte, 0, len(bs))
	for _, b := range bs {
		if len(b) > 0 {
			rest = append(rest, b)
		}
	}
	for len(rest) > 0 {
		n, err := unix.Pwritev(o.fd, rest[:min(len(rest), maxVec)], off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EINVAL) && o.undirect("write"):
			continue
		case err != nil:
			return &os.PathError{Op: "pwritev", Path: o.f.Name(), Err: err}
		}
		off += int64(n)
		for len(rest) > 0 && n >= len(rest[0]) {
			n -= len(rest[0])
			rest = rest[1:]
		}
		if n > 0 {
			rest[0] = rest[0][n:]
		}
	}
	return nil
}

func (o *osFile) Append(b []byte) error {
	_, err := o.f.Write(b)
	return err
}

func (o *osFile) Truncate(size int64) error { return o.f.Truncate(size) }

func (o *osFile) Allocate(off, n int64) error {
	err := retry(func() error { return unix.Fallocate(o.fd, 0, off, n) })
	if err == nil {
		return nil
	}
	err = &os.PathError{Op: "fallocate", Path: o.f.Name(), Err: err}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

func (o *osFile) Datasync() error {
	if err := retry(func() error { return unix.Fdatasync(o.fd) }); err != nil {
		return &os.PathError{Op: "fdatasync", Path: o.f.Name(), Err: err}
	}
	if o.aligned && o.Direct() != nil {
		// What was to pass the page cache shall not fill it. It is advice: an error changes nothing.
		_ = unix.Fadvise(o.fd, 0, 0, unix.FADV_DONTNEED)
	}
	return nil
}

func (o *osFile) Sync() error { return o.f.Sync() }

// check refuses what direct access would.
func (o *osFile) check(off int64, bs ...[]byte) error {
	if !o.aligned {
		return nil
	}
	return checkAligned(o.f.Name(), off, bs...)
}

// checkAligned refuses memory, offsets and lengths that direct access can't use.
func checkAligned(path string, off int64, bs ...[]byte) error {
	for _, b := range bs {
		if off%Block != 0 || len(b)%Block != 0 || !Aligned(b) {
			return fmt.Errorf("%d bytes at %d of %s: %w", len(b), off, path, ErrUnaligned)
		}
	}
	return nil
}

// undirect goes on without direct access, after a call that was aligned and refused all the same. It
// returns false where the file was not direct, or can't be changed: the refusal has another cause then.
func (o *osFile) undirect(call string) bool {
	flags, err := unix.FcntlInt(uintptr(o.fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_DIRECT == 0 {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, flags&^unix.O_DIRECT); err != nil {
		return false
	}
	reason := fmt.Errorf("%s with O_DIRECT: %w", call, unix.EINVAL)
	o.refused.Store(&reason)
	return true
}

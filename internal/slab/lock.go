package slab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// TryLock takes the lock of a file that is open for writing, or returns an error wrapping ErrInUse at once. The
// kernel gives it up when f is closed or the process ends, however it ends. It is an open file description lock:
// unlike flock it can be asked about without being taken for a moment.
func TryLock(f *os.File) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w", f.Name(), ErrInUse)
	default:
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
}

// Locked reports whether another open file has the lock. It is in nobody's way while it asks.
func Locked(f *os.File) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return false, fmt.Errorf("ask who has locked %s: %w", f.Name(), err)
	}
	return l.Type != unix.F_UNLCK, nil
}

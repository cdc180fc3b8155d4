package vfs

import (
	"errors"
	"io/fs"
	"syscall"
)

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrLocked marks a lock that another process kept until the caller's deadline.
	ErrLocked = errors.New("lock is held by another process")
	// ErrUnaligned marks a direct access whose memory, offset or length is no multiple of [Block]. It is a
	// mistake of the caller, on every file system.
	ErrUnaligned = errors.New("direct access is not aligned")
)

// IsFull reports whether err says that the disk, or the user's share of it, has no room left.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// IsNotExist reports whether err says that a file or folder is not there.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// IsExist reports whether err says that a name is taken.
func IsExist(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY)
}

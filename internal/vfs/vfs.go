package vfs

import (
	"context"
	"io"
	"io/fs"
)

// Block is what memory, offset and length of a direct access are a multiple of, in bytes.
const Block = 4096

// Flag says how a file is opened.
type Flag uint8

// The flags. A file is opened for reading; the rest adds to that.
const (
	Write     Flag = 1 << iota // for WriteAt, WriteVec, Truncate and Allocate too
	Create                     // made where it does not exist
	Exclusive                  // with Create: an error that IsExist knows where it does
	Clear                      // cut to nothing
	Append                     // for Append only, not for WriteAt
	Direct                     // past the page cache, where the file system can
)

// FS is a file system. All its methods may be called concurrently. Paths are the operating system's.
// No method makes anything durable unless it says so.
type FS interface {
	Files
	Folders
	Volume
}

// Files are the operations on names of files.
type Files interface {
	// OpenFile opens a file. Where Direct is refused the file is opened without it, and says so itself
	// ([File.Direct]). A new name is durable after SyncDir of its folder.
	OpenFile(path string, flag Flag) (File, error)
	// Rename moves a file in one step and replaces what has the new name. Durable after SyncDir of both
	// folders; a crash before leaves the one state or the other.
	Rename(from, to string) error
	// RenameNew is Rename for a file or folder, except that it fails with an error that IsExist knows where
	// the new name is taken. Of several that race for a name one wins.
	RenameNew(from, to string) error
	// Remove removes a file or an empty folder. Durable after SyncDir of its folder.
	Remove(path string) error
	// Stat describes what has the name.
	Stat(path string) (fs.FileInfo, error)
}

// Folders are the operations on folders.
type Folders interface {
	// Mkdir makes one folder; an error that IsExist knows where the name is taken. Durable after SyncDir of
	// its parent.
	Mkdir(path string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(path string) ([]fs.DirEntry, error)
	// SyncDir makes the names in a folder durable: those made, renamed and removed before the call.
	SyncDir(path string) error
}

// Volume is what concerns the disk or other processes.
type Volume interface {
	// Free is the number of bytes that an unprivileged user can still write to the disk of path.
	Free(path string) (uint64, error)
	// Lock takes the lock file path, made where it is not there, against every other holder in this or another
	// process. It waits until ctx ends; the error then wraps [ErrLocked] and the context's. The lock ends with
	// Close of what is returned, or with the process.
	Lock(ctx context.Context, path string) (io.Closer, error)
	// LockShared is Lock, except that several can hold the lock in this way at once: only Lock's holders and they
	// exclude each other.
	LockShared(ctx context.Context, path string) (io.Closer, error)
}

// File is an open file. Its methods may be called concurrently, except that no two writes may overlap and
// nothing may be called during or after Close.
type File interface {
	Reader
	io.Closer
	Writer
	Syncer
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Removed reports whether the file has no name any more: what is written to it goes with its last handle.
	Removed() (bool, error)
	// Direct is nil while reads and writes go past the page cache, else why they do not.
	Direct() error
}

// Reader is the part of a File that reads it.
type Reader interface {
	// ReadAt is [io.ReaderAt]'s. Of a file opened with Direct it reads what the disk has, not what is remembered of
	// it, and takes only memory, offset and length that are multiples of [Block]; at the end of the file it reads
	// less. After a sync that failed the two can differ.
	ReadAt(b []byte, off int64) (int, error)
}

// Writer is the part of a File that changes it. Nothing is durable before a Syncer's method returns.
type Writer interface {
	// WriteAt writes all of b at off, or returns an error. A file opened with Direct takes only memory,
	// offset and length that are multiples of [Block] ([ErrUnaligned]). Where the file system refuses direct
	// access only now, the file goes on without it ([File.Direct]).
	WriteAt(b []byte, off int64) (int, error)
	// WriteVec is WriteAt for several pieces that become neighbours in the file, in one operation.
	WriteVec(bs [][]byte, off int64) error
	// Append writes all of b behind the end of the file, which other processes may append to at the same
	// time, in one operation.
	Append(b []byte) error
	// Truncate sets the length.
	Truncate(size int64) error
	// Allocate makes sure that [off, off+n) has space on the disk and is part of the file, so that a write
	// there changes no size. It reads as zeros. The error wraps [errors.ErrUnsupported] where the file system
	// can't.
	Allocate(off, n int64) error
}

// Syncer makes a file durable. A failed sync may have dropped what it was to write: the file must not be
// trusted after it.
type Syncer interface {
	// Datasync makes durable what was written by calls that returned before it began, with the size.
	Datasync() error
	// Sync is Datasync with the rest of the metadata.
	Sync() error
}

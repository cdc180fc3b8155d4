package writer

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrConfig marks a configuration that no writer can work with.
	ErrConfig = errors.New("writer configuration")
	// ErrName marks a store's name that is a path, hidden or empty: no message may name a place outside of the
	// writer's root.
	ErrName = errors.New("store name")
	// ErrDisk marks a write or sync that failed: what the process knows of its files is not to be trusted any more.
	// Another process can go on from the disk alone.
	ErrDisk = errors.New("the disk has failed")
	// ErrGone marks a store of which something was removed or renamed while it was written.
	ErrGone = errors.New("the store is not there any more, or not whole: it was removed or renamed")
	// ErrSpace marks a disk with less room than the run will need.
	ErrSpace = errors.New("too little room on the disk")
)

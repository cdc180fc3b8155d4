package store

import "errors"

// The errors of this package, to be tested with [errors.Is]. Those of the disk come through as package vfs
// has them: [vfs.IsFull], [vfs.ErrLocked].
var (
	// ErrExists marks a store that is there already: nothing is ever overwritten.
	ErrExists = errors.New("the store exists")
	// ErrNotStore marks a folder that is no store, or one of a format that this version doesn't know.
	ErrNotStore = errors.New("not a Sluice store")
	// ErrOtherRun marks a store of another run than the one that was asked for.
	ErrOtherRun = errors.New("the store belongs to another run")
	// ErrSpec marks a description of a run that no store can be made for.
	ErrSpec = errors.New("impossible store")
	// ErrFenced marks a shard that was given to an owner with a higher epoch. The caller's work on it is over.
	ErrFenced = errors.New("the shard has a newer owner")
	// ErrBroken marks a shard that had an error of the disk: what was synced stays, nothing more is taken.
	ErrBroken = errors.New("the shard's file is not to be trusted any more")
	// ErrIncomplete marks a shard that can't be sealed, or a store that can't be finished, because frames are
	// neither durable nor in the ledger.
	ErrIncomplete = errors.New("frames are not accounted for")
	// ErrInUse marks a store that a writer has open, or that is being recovered.
	ErrInUse = errors.New("the store is in use")
	// ErrFinished marks a change to a store that is complete.
	ErrFinished = errors.New("the store is finished")
	// ErrFrame marks a frame or loss that can't belong to the shard: a wrong size, a seq outside.
	ErrFrame = errors.New("the frame does not belong here")
	// ErrCorrupt marks bytes on the disk that are not what was written.
	ErrCorrupt = errors.New("corrupt data")
)

package slab

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrNoSpace marks shared memory that is too small for the slab.
	ErrNoSpace = errors.New("too little shared memory")
	// ErrForeign marks a file or folder that is not ours to trust: another owner, another mode, a link.
	ErrForeign = errors.New("not ours")
	// ErrDamaged marks a file that is no slab, or one whose header does not hold together.
	ErrDamaged = errors.New("not a sound slab")
	// ErrInUse marks a file that a living process has locked: a slab whose acquire lives.
	ErrInUse = errors.New("in use by a living process")
	// ErrSpec marks a run's description that no slab can be made for.
	ErrSpec = errors.New("run's description")
	// ErrStale marks an offer that does not match the slot: it was released or reclaimed since.
	ErrStale = errors.New("stale offer")
	// ErrRange marks a slot number that the slab does not have.
	ErrRange = errors.New("slot out of range")
	// ErrLossTable marks a full table of pending losses.
	ErrLossTable = errors.New("table of pending losses is full")
)

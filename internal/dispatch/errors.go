package dispatch

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrNoMember marks a run that a required group has no member for.
	ErrNoMember = errors.New("a required group has no member")
	// ErrRefused marks a run that a member refused; the text is the member's. RefusedUsage is the same where
	// the user can mend it.
	ErrRefused      = errors.New("run refused")
	ErrRefusedUsage = errors.New("cannot begin")
	// ErrRefusedFull is the same for want of room on a disk.
	ErrRefusedFull = errors.New("disk full")
	// ErrBusy marks a second run at a time.
	ErrBusy = errors.New("a run is going on")
	// ErrFinish marks a store that could not be completed.
	ErrFinish = errors.New("complete the store")
)

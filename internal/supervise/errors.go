package supervise

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrParentGone is the cause of a context that ended because the supervisor is gone.
	ErrParentGone = errors.New("the supervisor is gone")
	// ErrGaveUp marks a child that died again and again.
	ErrGaveUp = errors.New("gave up restarting")
	// ErrKilled marks a child that did not stop within its time.
	ErrKilled = errors.New("did not stop in time and was killed")
	// ErrNotThere marks a program that is not beside this one.
	ErrNotThere = errors.New("program not found")
)

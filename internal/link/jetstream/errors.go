package jetstream

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrPart marks a message that is no part of a frame, or of none that this run has.
	ErrPart = errors.New("not a part of a frame")
	// ErrTooSmall marks a stream that is smaller than one frame.
	ErrTooSmall = errors.New("the stream is too small")
	// ErrUnavailable marks a broker without JetStream, or one that does not let us use it.
	ErrUnavailable = errors.New("the broker's JetStream can't be used")
)

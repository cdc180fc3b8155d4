package backpressure

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrConfig marks a configuration that makes no sense. The text names the field.
	ErrConfig = errors.New("backpressure configuration")
	// ErrOversize marks a request for more bytes than the limit: it would wait for ever.
	ErrOversize = errors.New("larger than the whole budget")
	// ErrSize marks a number of bytes that is negative, or 0 for a queue's element.
	ErrSize = errors.New("not a size")
	// ErrFull is what TryAcquire returns when the bytes are not free now, or others wait for some already.
	ErrFull = errors.New("budget full")
	// ErrOverRelease marks a release of more bytes than are used: somebody releases twice.
	ErrOverRelease = errors.New("more released than acquired")
	// ErrClosed marks the use of a budget or queue after Close.
	ErrClosed = errors.New("backpressure closed")
	// ErrPolicy marks a text that names no policy or state.
	ErrPolicy = errors.New("unknown name")
)

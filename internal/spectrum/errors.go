package spectrum

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrConfig marks a configuration that makes no sense. The text names the quantity.
	ErrConfig = errors.New("spectrum configuration")
	// ErrSize marks a buffer that does not have the size that its contract asks for.
	ErrSize = errors.New("buffer size")
)

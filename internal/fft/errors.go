package fft

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrConfig marks a transform that can't be. The text names the quantity.
	ErrConfig = errors.New("transform configuration")
	// ErrSize marks a buffer that does not have the size that its contract asks for.
	ErrSize = errors.New("buffer size")
)

package camera

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrSource marks a source URI that is wrong: unknown scheme, key, unit or value, or input that is not
	// there, unreadable or of changing size. The text says which and what would be right.
	ErrSource = errors.New("source")
	// ErrFailed marks a camera that broke during the acquisition.
	ErrFailed = errors.New("camera failed")
)

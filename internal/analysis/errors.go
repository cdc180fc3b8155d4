package analysis

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrConfig marks a configuration that makes no sense. The text names the quantity.
	ErrConfig = errors.New("analysis configuration")
	// ErrBatch marks a batch of partial results that does not decode or does not fit the run.
	ErrBatch = errors.New("batch of partial results")
	// ErrNotCombining is the combiner's answer to a batch of a run that it does not combine (yet).
	ErrNotCombining = errors.New("not combining this run")
)

package broker

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrRuntimeDir marks a runtime folder that can't be used safely.
	ErrRuntimeDir = errors.New("runtime folder")
	// ErrNone marks the search for a local run that there isn't.
	ErrNone = errors.New("no local run")
	// ErrSeveral marks a search that finds more than one local run.
	ErrSeveral = errors.New("several local runs")
	// ErrHeld marks a camera that a live broker already serves.
	ErrHeld = errors.New("the camera already has a run on this machine")
)

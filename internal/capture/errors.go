package capture

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrBudget marks a budget that cannot hold what a run needs at the least, or that the machine cannot give.
	ErrBudget = errors.New("budget")
	// ErrState marks a request that the present state does not allow.
	ErrState = errors.New("not now")
	// ErrDisarmed marks an arming that was given up: someone asked for a stop, or acquire ends.
	ErrDisarmed = errors.New("disarmed")
	// ErrStalled marks a camera that sends nothing any more.
	ErrStalled = errors.New("camera stalled")
	// ErrNoWriter marks a run that no writer can go on with.
	ErrNoWriter = errors.New("no writer can go on")
)

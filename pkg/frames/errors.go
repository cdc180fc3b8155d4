package frames

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrGeometry marks a shape or sample type that no frame can have.
	ErrGeometry = errors.New("geometry")
	// ErrRunID marks a text that is not a run id.
	ErrRunID = errors.New("run id")
	// ErrCamera marks a name that no camera can have.
	ErrCamera = errors.New("camera name")
	// ErrWire marks a packet that does not decode.
	ErrWire = errors.New("malformed packet")
	// ErrReleased marks the use of a frame's pixels after its last release.
	ErrReleased = errors.New("frame used after its release")
	// ErrReclaimed marks pixels whose slot was given to another frame while they were read.
	ErrReclaimed = errors.New("frame's slot was reclaimed")
	// ErrFault marks pixels that can't be read: the file that they lie in was cut short.
	ErrFault = errors.New("the memory is not there any more")
)

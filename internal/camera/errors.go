package camera

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrSource marks a source URI that is wrong: unknown scheme, key, unit or value, or input that is not
	// there, unreadable or of changing size. The text says which and what would be right.
	ErrSource = errors.New("source")
	// ErrFailed marks a camera that broke during the acquisition.
	ErrFailed = errors.New("camera failed")
	// ErrTimeout marks a device or stream that did not answer in time. It comes with ErrSource where it could
	// not be opened, with ErrFailed where it stopped answering.
	ErrTimeout = errors.New("no answer in time")
	// ErrOrder marks a call that the Camera's contract does not allow at that moment: Grab before Start or
	// after Close, Retrieve without a Grab or twice, a dst of another size than a frame.
	ErrOrder = errors.New("camera call out of order")
	// ErrFrameID marks a description of frame ids that no camera has.
	ErrFrameID = errors.New("frame id")
)

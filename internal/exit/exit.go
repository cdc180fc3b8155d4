// Package exit has the exit codes of every command, and the one place that chooses among them.
package exit

import (
	"errors"
	"fmt"
)

// The exit codes. They are documented in docs/operations.md and never change their meaning.
const (
	OK          = 0   // every frame is durable
	Internal    = 1   // internal error
	Usage       = 2   // bad usage or configuration
	Lost        = 3   // finished, frames lost and ledgered
	Damaged     = 4   // store damaged or unfinished
	DiskFull    = 5   // disk full
	EndedEarly  = 6   // camera failed or stalled, or policy fail: all captured frames durable
	Unavailable = 7   // broker or a required group lost
	Interrupted = 130 // stopped hard
)

// Error is an error that knows its exit code.
type Error struct {
	Code int
	Err  error
}

// Errorf makes an Error as [fmt.Errorf] does.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error is the text of the wrapped error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Code is the exit code for err: 0 for nil, that of the outermost Error in its chain, else Internal.
func Code(err error) int {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

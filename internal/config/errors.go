package config

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrPrinted is what Parse returns after it has printed the help or the version: exit with code 0.
	ErrPrinted = errors.New("help or version printed")
	// ErrValue marks a text that is not a value of its option.
	ErrValue = errors.New("bad value")
	// ErrFile marks a configuration file that can't be used.
	ErrFile = errors.New("configuration file")
)

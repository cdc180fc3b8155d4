package bus

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrNoBroker marks a NATS server that can't be reached or refuses us.
	ErrNoBroker = errors.New("NATS")
	// ErrNoAnswer marks a control request that nobody answered (in time).
	ErrNoAnswer = errors.New("no answer")
	// ErrRequest marks a control request that does not decode.
	ErrRequest = errors.New("bad request")
	// ErrEndpoint marks a broker's file that is missing, damaged or not ours.
	ErrEndpoint = errors.New("broker file")
)

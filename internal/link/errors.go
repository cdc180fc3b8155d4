package link

import "errors"

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrClosed marks the use of a connection after Close, by this side.
	ErrClosed = errors.New("link closed")
	// ErrReset marks a connection that the other side does not know (any more): join again.
	ErrReset = errors.New("link reset by the other side")
	// ErrPeerDead marks a connection whose other process has ended.
	ErrPeerDead = errors.New("the process at the other end of the link has ended")
	// ErrReplaced marks a connection in whose place the same process has made another.
	ErrReplaced = errors.New("the other side has joined again")
	// ErrRefused marks a request to join that acquire will never grant as it is.
	ErrRefused = errors.New("join refused")
	// ErrNoAnswer marks a request to join that nobody answered in time.
	ErrNoAnswer = errors.New("no acquire answers for this camera")
	// ErrProtocol marks a message from the other side that breaks the link's rules.
	ErrProtocol = errors.New("link protocol")

	// errBusy marks a request to join that is not answered now: it is repeated.
	errBusy = errors.New("acquire is busy")
)

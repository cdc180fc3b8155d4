package jetstream

import (
	"context"
	"errors"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors of this package, to be tested with [errors.Is].
var (
	// ErrPart marks a message that is no part of a frame, or of none that this run has.
	ErrPart = errors.New("not a part of a frame")
	// ErrTooSmall marks a stream that is smaller than one frame.
	ErrTooSmall = errors.New("the stream is too small")
	// ErrUnavailable marks a broker without JetStream, or one that does not let us use it.
	ErrUnavailable = errors.New("the broker's JetStream can't be used")
)

// noPeers is JetStream's code for servers of a cluster that are not there, or not yet.
const noPeers jetstream.ErrorCode = 10005

// temporary reports whether an error of the broker's may be gone when it is asked again: it is silent, out of reach, or a
// cluster in which not all servers are.
func temporary(err error) bool {
	for _, e := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrNoServers} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == http.StatusServiceUnavailable || api.ErrorCode == noPeers)
}

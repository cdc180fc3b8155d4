package link

import (
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// natsTransport is core NATS as a Transport.
type natsTransport struct{ nc *nats.Conn }

var _ Transport = natsTransport{}

// NATS returns core NATS as a Transport. The connection should neither buffer while it reconnects nor give up.
func NATS(nc *nats.Conn) Transport { return natsTransport{nc} }

// Publish implements Transport.
func (t natsTransport) Publish(subject string, data []byte) error { return t.nc.Publish(subject, data) }

// Connected implements Transport.
func (t natsTransport) Connected() bool { return t.nc.IsConnected() }

// Subscribe implements Transport.
func (t natsTransport) Subscribe(subject string, f func(string, []byte)) (func(), error) {
	var mu sync.Mutex // held while f runs
	over := false
	sub, err := t.nc.Subscribe(subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			f(m.Subject, m.Data)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	// Far above what waits in a healthy process, and a bound where it does not keep up: the rest is repeated.
	if err := sub.SetPendingLimits(1<<16, 16<<20); err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	if t.nc.IsConnected() {
		// A member that says "I am here" must be reachable from that moment on. An error is a connection
		// that was lost just now: the subscription is made again with it.
		_ = t.nc.Flush()
	}
	return func() {
		// An error means that the connection is closed, and the subscription with it.
		_ = sub.Unsubscribe()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}, nil
}

package link

import (
	"fmt"

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
	sub, err := t.nc.Subscribe(subject, func(m *nats.Msg) { f(m.Subject, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	if t.nc.IsConnected() {
		// A member that says "I am here" must be reachable from that moment on.
		if err := t.nc.Flush(); err != nil && t.nc.IsClosed() {
			return nil, fmt.Errorf("subscribe %s: %w", subject, err)
		}
	}
	return func() {
		// An error means that the connection is closed, and the subscription with it.
		_ = sub.Unsubscribe()
		<-ended
	}, nil
}

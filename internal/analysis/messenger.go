package analysis

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Requests beyond these wait no more: their sender asks again.
const (
	pendingBatches = 1024
	pendingBytes   = 16 << 20
)

// Messenger is what the analysis needs of the messaging. All methods may be called concurrently.
type Messenger interface {
	// Encode fills in m's envelope and returns m as one line of JSON.
	Encode(t bus.Type, run frames.RunID, m bus.Message) ([]byte, error)
	// Publish sends a message with headers (nil for none) and does not block on the network; what is sent
	// while the connection is down is lost.
	Publish(subject string, header map[string]string, data []byte) error
	// Request sends a message and waits for the first answer, until ctx ends. It returns an error at once
	// when nobody listens.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
	// Serve answers requests on subject by f, one at a time, until stop is called, which waits for f.
	Serve(subject string, f func(data []byte) []byte) (stop func(), err error)
}

// natsMessenger is core NATS as a Messenger.
type natsMessenger struct {
	nc *nats.Conn
	*bus.Publisher
}

var _ Messenger = natsMessenger{}

// NATS returns core NATS as a Messenger of the camera's process of that name.
func NATS(nc *nats.Conn, camera, process string) Messenger {
	return natsMessenger{nc: nc, Publisher: bus.NewPublisher(nc, camera, process)}
}

func (m natsMessenger) Publish(subject string, header map[string]string, data []byte) error {
	msg := &nats.Msg{Subject: subject, Data: data}
	if len(header) > 0 {
		msg.Header = nats.Header{}
		for k, v := range header {
			msg.Header.Set(k, v)
		}
	}
	if err := m.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("publishing on %s: %w", subject, err)
	}
	return nil
}

func (m natsMessenger) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	msg, err := m.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("asking on %s: %w", subject, err)
	}
	return msg.Data, nil
}

func (m natsMessenger) Serve(subject string, f func(data []byte) []byte) (func(), error) {
	sub, err := m.nc.Subscribe(subject, func(msg *nats.Msg) {
		if !bus.Inbox(msg.Reply) {
			return // it would be taken for a message of this process's own
		}
		// An answer that is lost with the connection is asked for again.
		_ = msg.Respond(f(msg.Data))
	})
	if err == nil {
		err = sub.SetPendingLimits(pendingBatches, pendingBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	return func() {
		// An error means that the connection is closed, and the subscription with it.
		_ = sub.Unsubscribe()
		<-ended
	}, nil
}

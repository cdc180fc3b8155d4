package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
)

const (
	// maxWindow bounds the frames of a window, whatever their size: each costs an entry in several tables.
	maxWindow = 4096
	// latestWindow is what a latest group's member needs: it has one frame at a time, and the next may be coming.
	latestWindow = 1
	// spareFrames are beyond the window, for frames that an earlier acquire began to send.
	spareFrames = 1
)

// Carrier is the members' side.
type Carrier struct {
	// Connect makes the connection that pixels come in on, for each run.
	Connect func(ctx context.Context) (*nats.Conn, error)
	// Base is the camera's subject, "sluice.cam0", Name the member's.
	Base, Name string
	// Memory is how many bytes of frames the member may have, two frames at least.
	Memory int64
	Logger *slog.Logger
}

var _ link.Carrier = Carrier{}

// Names implements link.Carrier.
func (Carrier) Names() []string { return []string{link.JetStream} }

func (c Carrier) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// Open implements link.Carrier.
func (c Carrier) Open(ctx context.Context, a link.Armed) (link.Mapping, error) {
	c.Logger = c.logger()
	window := latestWindow
	if a.Policy == link.Lossless {
		window = int(min(max(2, c.Memory/int64(slab.Stride(a.Spec.Geometry.FrameBytes()))), maxWindow))
	}
	p, err := newPool(a.Spec, window+spareFrames)
	if err != nil {
		return nil, err
	}
	nc, err := c.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect for pixels: %w", errors.Join(err, p.close()))
	}
	m := &mapping{carrier: c, names: names{c.Base}, policy: a.Policy, window: window, pool: p, nc: nc}
	cut, err := newCut(a.Spec.Geometry.FrameBytes(), nc.MaxPayload())
	if err == nil {
		m.batch = cut.batch()
		err = m.begin()
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// begin has pixels come in.
func (m *mapping) begin() error {
	js, err := jetstream.New(m.nc, jetstream.WithDefaultTimeout(askTime))
	if err != nil {
		return fmt.Errorf("pixels of %s: %w", m.carrier.Name, err)
	}
	subject := m.names.plain(m.carrier.Name)
	sub, err := m.nc.Subscribe(subject, func(msg *nats.Msg) { m.take(msg.Header, msg.Data) })
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	m.sub = sub
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	if m.policy == link.Lossless {
		m.working.Go(func() { m.fetch(ctx, js) })
	}
	return nil
}

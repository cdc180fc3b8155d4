package member

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/jetstream"
	"github.com/sluicedaq/sluice/internal/link/shm"
)

// carrier is how pixels come to the member. Those that come through JetStream have a connection of their own.
func (c Config) carrier() link.Carrier {
	slab := shm.Carrier{Dir: shmDir}
	away := jetstream.Carrier{
		Connect: func(ctx context.Context) (*nats.Conn, error) {
			return bus.Connect(ctx, bus.Options{NATS: c.NATS, Role: c.Group, Process: c.Name + " pixels", Log: c.Logger, Refusals: c.Refusals})
		},
		Base: "sluice." + c.Camera, Name: c.Name, Memory: int64(c.Receive), Logger: c.Logger,
	}
	switch c.Way {
	case config.WayAuto:
		return jetstream.Auto{Slab: slab, Away: away}
	case config.WayJetStream:
		return away
	}
	return slab
}

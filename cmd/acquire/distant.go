package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/jetstream"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// lost is how long a member of another host may be silent, 0 where none is let in.
func lost(opts config.Acquire) time.Duration {
	if opts.Way == config.WaySlab {
		return 0
	}
	return opts.Lost
}

// distant opens acquire's door to members of other hosts, if it is to be. The returned function ends what they need.
func distant(opts config.Acquire, l link.Listener, book *refusal.Book, logger *slog.Logger) (link.Listener, func(), error) {
	if opts.Way == config.WaySlab {
		return l, func() {}, nil
	}
	storage := js.MemoryStorage
	if opts.Storage == config.StorageFile {
		storage = js.FileStorage
	}
	f, err := jetstream.NewFeeder(jetstream.Config{
		Connect: func(ctx context.Context) (*nats.Conn, error) {
			return bus.Connect(ctx, bus.Options{NATS: opts.NATS, Role: "acquire", Process: "acquire pixels", Log: logger, Refusals: book})
		},
		Base: "sluice." + string(opts.Camera.Camera), Dir: shmDir, Storage: storage, Replicas: int(opts.Replicas), MaxBytes: int64(opts.Bytes),
		Logger: logger,
	})
	if err != nil {
		return nil, nil, err
	}
	return jetstream.Listen(l, f), func() {
		if err := f.Close(); err != nil {
			logger.Warn("the stream stays on the broker until the next run", "error", err)
		}
	}, nil
}

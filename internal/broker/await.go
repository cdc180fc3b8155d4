package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
)

// lookEvery is how often Await looks.
const lookEvery = 10 * time.Millisecond

// Await waits until the broker of the session has said how to reach it.
func (p Place) Await(ctx context.Context, session string) (bus.Endpoint, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		e, err := bus.ReadEndpoint(p.File())
		if err == nil && e.Session == session {
			return e, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return bus.Endpoint{}, fmt.Errorf("waiting for the broker of camera %s: %w", p.camera, context.Cause(ctx))
		}
	}
}

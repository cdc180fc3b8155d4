package main

import (
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/slab"
)

// lockTime is how long the kernel may take to clear a killed acquire away.
const lockTime = 2 * time.Second

// sole refuses a camera that has an acquire: requests would go to either of them, and a run to both. On this host a
// lock says so, which is held until the presence is closed; another host's acquire answers on the broker.
func sole(ctx context.Context, client *bus.Client, camera string) (*shm.Presence, error) {
	locking, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	p, err := shm.AnnounceAcquire(locking, shmDir, camera)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, exit.Errorf(exit.Interrupted, "stopped while waiting for camera %s", camera)
	case errors.Is(err, slab.ErrInUse):
		return nil, &exit.Error{Code: exit.Usage, Err: err}
	case err != nil:
		return nil, err
	}
	if err := vacant(ctx, client, camera); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// vacant refuses a camera whose status somebody tells. A broker may know a dead acquire for a moment longer: that one
// tells nothing, and who asks again finds nobody.
func vacant(ctx context.Context, client *bus.Client, camera string) error {
	for _, patience := range []time.Duration{50 * time.Millisecond, 450 * time.Millisecond} {
		asking, cancel := context.WithTimeout(ctx, patience)
		s, err := client.Status(asking, bus.RunRequest{})
		cancel()
		switch {
		case err == nil:
			return exit.Errorf(exit.Usage, "camera %s already has an acquire on this broker, process %d on host %s", camera, s.PID, s.Host)
		case ctx.Err() != nil:
			return exit.Errorf(exit.Interrupted, "stopped while asking for camera %s", camera)
		case !errors.Is(err, bus.ErrNoAnswer):
			return err
		}
	}
	return nil
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/exit"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// errWaiting is the end of a wait that somebody interrupted.
var errWaiting = errors.New("interrupted, the run goes on")

// wait waits until no run goes on and returns the summary of the last one, nil where there was none, and the error that
// the run ended with. A run that was detached on this machine has left both, also when it is over.
func (c *ctlCmd) wait(ctx context.Context, p *process) (*runpkg.Summary, error) {
	var last *detachedRun
	if c.NATS.NATS == "" {
		dir, err := broker.Dir(p.getenv)
		if err != nil {
			return nil, &exit.Error{Code: exit.Usage, Err: err}
		}
		place := broker.At(dir, string(c.Camera))
		if last, err = awaitDetached(ctx, place); err != nil {
			return nil, err
		}
		live, err := place.Live()
		if err != nil {
			return nil, err
		}
		if last != nil && !live {
			return last.ended()
		}
	}
	nc, err := connect(ctx, p, c.NATS, string(c.Camera))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	summary, err := waitIdle(ctx, nc, bus.NewClient(nc, string(c.Camera)), string(c.Camera))
	switch {
	case errors.Is(err, bus.ErrNoAnswer) && last != nil: // only the broker is left of it
		return last.ended()
	case summary == nil || err != nil:
		return summary, err
	}
	return summary, outcome(*summary)
}

// ended is how a detached run ended. One that was killed could not say so, but its store may.
func (d *detachedRun) ended() (*runpkg.Summary, error) {
	if d.Ended != nil {
		return d.Ended.Summary, d.Ended.err()
	}
	if sum := summaryIn(d.Store); sum != nil && sum.Run == d.Run {
		return sum, outcome(*sum)
	}
	return nil, exit.Errorf(exit.Damaged, "run %s was killed: see sluice verify %s", d.Run.Short(), d.Store)
}

// summaryIn is the summary in a store of this machine, nil where there is none.
func summaryIn(path string) *runpkg.Summary {
	if path == "" {
		return nil
	}
	a, err := store.ReadAttributes(vfs.OS{}, path)
	if err != nil {
		return nil
	}
	return a.Summary
}

// lookAtRun reports whether the camera's detached run goes on, and what it is where it has ended; nil where there was none.
func lookAtRun(place broker.Place) (goesOn bool, d *detachedRun, err error) {
	f, err := os.OpenFile(place.RunFile(), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("looking at the detached run: %w", err)
	}
	defer f.Close()
	if goesOn, err = slab.Locked(f); err != nil || goesOn {
		return goesOn, nil, err
	}
	d = &detachedRun{}
	if err := json.NewDecoder(f).Decode(d); err != nil {
		return false, nil, nil //nolint:nilerr // killed before its start: there is nothing to tell
	}
	return false, d, nil
}

// awaitDetached waits for the end of the camera's detached run.
func awaitDetached(ctx context.Context, place broker.Place) (*detachedRun, error) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		goesOn, d, err := lookAtRun(place)
		if err != nil || !goesOn {
			return d, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, &exit.Error{Code: exit.Interrupted, Err: errWaiting}
		}
	}
}

// waitIdle waits on the broker until no run goes on. A run's acquire may go with the run: then its last word counts, or
// what the store says. An acquire that is away for longer than lostTime ends the wait.
func waitIdle(ctx context.Context, nc *nats.Conn, client *bus.Client, camera string) (*runpkg.Summary, error) {
	events := make(chan *nats.Msg, 256)
	if _, err := nc.ChanSubscribe(bus.EventsSubject(camera), events); err != nil {
		return nil, fmt.Errorf("following events: %w", err)
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	answered := time.Now()
	var last bus.Status
	for {
		asking, cancel := context.WithTimeout(ctx, pollTime)
		s, err := client.Status(asking, bus.RunRequest{})
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, &exit.Error{Code: exit.Interrupted, Err: errWaiting}
		case err != nil && time.Since(answered) > lostTime:
			if sum := summaryIn(last.Store); sum != nil && sum.Run == last.Run {
				return sum, nil
			}
			return nil, err
		case err != nil:
		case s.State == bus.StateFault:
			return s.LastRun, fault(s)
		case s.State == bus.StateIdle:
			return s.LastRun, nil
		default:
			answered, last = time.Now(), s
		}
		for waiting := true; waiting; {
			select {
			case <-ticker.C:
				waiting = false
			case m := <-events:
				var e bus.Event
				if json.Unmarshal(m.Data, &e) == nil && e.Kind == bus.EventFinished && e.Run == last.Run && e.Summary != nil {
					// The event is anybody's who may publish: where the store can be read, it has the true account.
					return cmp.Or(summaryIn(last.Store), e.Summary), nil
				}
			case <-ctx.Done():
				waiting = false
			}
		}
	}
}

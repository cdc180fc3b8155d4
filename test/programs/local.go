package programs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
)

// Local is a station with a run that has a broker of its own, and a connection to that broker.
type Local struct {
	*Station
	*Running
	NC     *nats.Conn
	Client *bus.Client
}

// StartLocal starts the run. It returns when the broker is there.
func (p *Programs) StartLocal(t *testing.T, camera string, args ...string) *Local {
	t.Helper()
	l := &Local{Station: NewStation(t, p, camera)}
	l.Running = l.Launch(args...)
	url := ""
	l.Poll(t, "a broker", func() bool {
		url = l.BrokerURL()
		return url != ""
	})
	l.NC = Connect(t, url)
	l.Client = bus.NewClient(l.NC, l.Camera)
	return l
}

// Poll waits until done while the run goes on, at most as long as a program may take to end.
func (l *Local) Poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endTime)
	defer cancel()
	if err := l.Until(ctx, done); err != nil {
		t.Fatalf("waiting for %s: %v\n%s", what, err, l.stderr.String())
	}
}

// ErrEnded is returned by what waits for something of a run that has ended.
var ErrEnded = errors.New("the run has ended")

// Until waits until done, the end of the run or the end of ctx. It may be called from any goroutine.
func (l *Local) Until(ctx context.Context, done func() bool) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-l.Done():
			if done() {
				return nil
			}
			return ErrEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Await asks for the camera's status until it is as wanted. It may be called from any goroutine.
func (l *Local) Await(ctx context.Context, want func(bus.Status) bool) (found bus.Status, err error) {
	err = l.Until(ctx, func() bool {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		st, err := l.Client.Status(ask, bus.RunRequest{})
		if err != nil || !want(st) {
			return false
		}
		found = st
		return true
	})
	return found, err
}

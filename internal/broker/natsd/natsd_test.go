package natsd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a Run in work.
type daemon struct {
	stop context.CancelFunc
	gone chan struct{}
	done chan error
	bus.Endpoint
}

func serve(t *testing.T, p broker.Place, session string) *daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := &daemon{stop: cancel, gone: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		d.done <- Run(ctx, Config{
			Place: p, Camera: "cam0", Session: session, Gone: d.gone, Linger: time.Minute, Log: slog.New(slog.DiscardHandler),
		})
	}()
	waiting, cancelWait := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelWait()
	var err error
	if d.Endpoint, err = p.Await(waiting, session); err != nil {
		cancel()
		t.Fatal(errors.Join(err, <-d.done))
	}
	return d
}

// end stops the daemon in order.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	d.stop()
	if err := <-d.done; err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, p broker.Place) *nats.Conn {
	t.Helper()
	nc, err := bus.Connect(t.Context(), bus.Options{NATS: config.NATS{NATSFile: p.File(), ConnectTimeout: 5 * time.Second}, Process: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func TestServe(t *testing.T) {
	p := broker.At(t.TempDir(), "cam0")
	d := serve(t, p, "s1")
	nc := connect(t, p)
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Error(err)
	}
	if nc.MaxPayload() != maxPayload {
		t.Errorf("max payload %d", nc.MaxPayload())
	}
	if _, err := nats.Connect(d.URL, nats.UserInfo(user, "guess")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("wrong password: %v", err)
	}
	if err := Run(t.Context(), Config{Place: p, Session: "s2", Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, broker.ErrHeld) {
		t.Errorf("second broker: %v", err)
	}
	nc.Close()
	d.end(t)
	if _, err := os.Stat(p.File()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file after an orderly end: %v", err)
	}
}

func TestRestartedServerKeepsPortAndPassword(t *testing.T) {
	p := broker.At(t.TempDir(), "cam0")
	d := serve(t, p, "s1")
	nc := connect(t, p)
	defer nc.Close()
	states := nc.StatusChanged(nats.CONNECTED)
	d.end(t)
	// What a killed broker leaves behind.
	if err := p.Write(d.Endpoint); err != nil {
		t.Fatal(err)
	}
	again := serve(t, p, "s1")
	if again.URL != d.URL || again.Password != d.Password {
		t.Errorf("%+v, was %+v", again.Endpoint, d.Endpoint)
	}
	select {
	case <-states:
	case <-time.After(10 * time.Second):
		t.Error("the client is not back")
	}
	again.end(t)
	if err := p.Write(again.Endpoint); err != nil {
		t.Fatal(err)
	}
	other := serve(t, p, "s2")
	if other.Password == d.Password {
		t.Error("another run got the old password")
	}
	other.end(t)
}

func TestStaysForItsClients(t *testing.T) {
	p := broker.At(t.TempDir(), "cam0")
	d := serve(t, p, "s1")
	nc := connect(t, p)
	close(d.gone)
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Error(err)
	}
	select {
	case err := <-d.done:
		t.Fatalf("it left its client: %v", err)
	case <-time.After(3 * lookEvery): // it must not end: there is nothing to wait for but time
	}
	nc.Close()
	if err := <-d.done; err != nil {
		t.Error(err)
	}
	d.stop()
}

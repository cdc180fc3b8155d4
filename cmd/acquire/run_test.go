package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/exit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(string) string { return "" }

// start runs an acquire of the camera until the returned function is called.
func start(t *testing.T, srv *bustest.Server, camera string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, nil, []string{"--nats=" + srv.URL(), "--camera=" + camera}, nothing, &bytes.Buffer{}, &bytes.Buffer{})
	}()
	client := bus.NewClient(srv.Connect("asks"), camera)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := client.Status(t.Context(), bus.RunRequest{}); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("acquire ended: %v", err)
		case <-tick.C:
		}
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
}

// TestOneAcquire: of two acquires of a camera the second is refused, on whatever broker, and takes its place when the
// first has ended.
func TestOneAcquire(t *testing.T) {
	const camera = "one-acquire"
	srv, other := bustest.Start(t), bustest.Start(t)
	stop := start(t, srv, camera)
	for _, url := range []string{srv.URL(), other.URL()} {
		err := run(t.Context(), nil, []string{"--nats=" + url, "--camera=" + camera}, nothing, &bytes.Buffer{}, &bytes.Buffer{})
		want := fmt.Sprintf("camera %s already has an acquire on this host, process %d", camera, os.Getpid())
		if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("a second acquire: code %d, %v", exit.Code(err), err)
		}
	}
	stop()
	start(t, srv, camera)()
}

// TestVacant: who answers has the camera; who is only known to the broker has not.
func TestVacant(t *testing.T) {
	const camera = "vacant"
	srv := bustest.Start(t)
	client := bus.NewClient(srv.Connect("second"), camera)
	stop := start(t, srv, camera)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("camera %s already has an acquire on this broker, process %d on host %s", camera, os.Getpid(), host)
	if err := vacant(t.Context(), client, camera); exit.Code(err) != exit.Usage || err.Error() != want {
		t.Errorf("code %d, %v; want %s", exit.Code(err), err, want)
	}
	stop()
	if err := vacant(t.Context(), client, camera); err != nil {
		t.Errorf("nobody is there: %v", err)
	}
	ghost := srv.Connect("ghost")
	if _, err := ghost.QueueSubscribe(bus.ControlSubject(camera, bus.VerbStatus), "q", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := ghost.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := vacant(t.Context(), client, camera); err != nil {
		t.Errorf("nobody answers: %v", err)
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if err := vacant(gone, client, camera); exit.Code(err) != exit.Interrupted {
		t.Errorf("interrupted: code %d, %v", exit.Code(err), err)
	}
}

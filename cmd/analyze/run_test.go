package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/slab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(string) string { return "" }

func TestBadUsage(t *testing.T) {
	srv := bustest.Start(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--frames=3"}, "unknown flag --frames"},
		{[]string{"--window=kaiser"}, "--window"},
		{[]string{"--nats=nats://127.0.0.1:1", "--connect-timeout=100ms"}, "nobody answers"},
		{[]string{"--nats=" + srv.URL(), "--tiles=40x40"}, "a grid of 40 x 40 tiles"},
		{[]string{"--nats=" + srv.URL(), "--segment=17"}, "--segment: 17 frames"},
	} {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), nil, c.args, nothing, &stdout, &stderr)
		if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: code %d, %v", c.args, exit.Code(err), err)
		}
	}
}

// TestStatusAndLeave starts an analyser that nobody has work for: it says that it is there, and goes when asked.
func TestStatusAndLeave(t *testing.T) {
	srv := bustest.Start(t)
	camera := "lonely-" + strings.ToLower(rand.Text()[:6])
	t.Cleanup(func() { os.Remove(filepath.Join(slab.UserDir("/dev/shm"), camera+".analyze-9.member")) })
	statuses := make(chan bus.MemberStatus, 16)
	nc := srv.Connect("monitor")
	if _, err := nc.Subscribe(bus.StatusSubject(camera), func(m *nats.Msg) {
		var s bus.MemberStatus
		if err := json.Unmarshal(m.Data, &s); err != nil {
			t.Error(err)
		}
		statuses <- s
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- run(ctx, nil, []string{"--nats=" + srv.URL(), "--camera=" + camera, "--name=analyze-9"}, nothing, &bytes.Buffer{}, &bytes.Buffer{})
	}()
	select {
	case s := <-statuses:
		if s.Process != "analyze-9" || s.Group != "analyze" || s.Joined || s.RSSBytes == 0 || s.Goroutines == 0 || !s.Run.IsZero() {
			t.Errorf("status %+v", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no status")
	}
	// A second one of the same name is refused while the first lives.
	err := run(ctx, nil, []string{"--nats=" + srv.URL(), "--camera=" + camera, "--name=analyze-9"}, nothing, &bytes.Buffer{}, &bytes.Buffer{})
	if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "analyze-9") {
		t.Errorf("the name is taken: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("left with %v", err)
	}
}

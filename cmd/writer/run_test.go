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
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--out"},
		{[]string{"--out=" + file}, "is not a folder"},
		{[]string{"--out=" + file + "/a/b"}, "the folder for the stores"},
		{[]string{"--out=" + t.TempDir(), "--nats=nats://127.0.0.1:1", "--connect-timeout=100ms"}, "nobody answers"},
	} {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), nil, c.args, nothing, &stdout, &stderr)
		if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: code %d, %v", c.args, exit.Code(err), err)
		}
	}
}

// TestStatusAndLeave starts a writer that nobody has work for: it says that it is there, refuses its name to another,
// and goes when asked.
func TestStatusAndLeave(t *testing.T) {
	srv := bustest.Start(t)
	camera := "lonely-" + strings.ToLower(rand.Text()[:6])
	t.Cleanup(func() { os.Remove(filepath.Join(slab.UserDir("/dev/shm"), camera+".writer-9.member")) })
	statuses := make(chan bus.MemberStatus, 16)
	if _, err := srv.Connect("monitor").Subscribe(bus.StatusSubject(camera), func(m *nats.Msg) {
		var s bus.MemberStatus
		if err := json.Unmarshal(m.Data, &s); err != nil {
			t.Error(err)
		}
		select {
		case statuses <- s:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	args := []string{"--nats=" + srv.URL(), "--camera=" + camera, "--name=writer-9", "--out=" + t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- run(ctx, nil, args, nothing, &bytes.Buffer{}, &bytes.Buffer{}) }()
	select {
	case s := <-statuses:
		if s.Process != "writer-9" || s.Group != "writer" || s.Joined || s.RSSBytes == 0 || !s.Run.IsZero() || s.Writer != nil {
			t.Errorf("status %+v", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no status")
	}
	err := run(ctx, nil, args, nothing, &bytes.Buffer{}, &bytes.Buffer{})
	if exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "writer-9") {
		t.Errorf("the name is taken: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("left with %v", err)
	}
}

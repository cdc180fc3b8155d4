package programs

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Messages are what came on a subject since Listen, decoded.
type Messages[T any] struct {
	mu      sync.Mutex
	all     []T
	changed chan struct{} // closed and renewed with each message
	nc      *nats.Conn
}

// Connect connects to a broker until the test ends. A broker that is away for a while is found again.
func Connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// Listen subscribes to a subject with JSON messages until the test ends. A message that is no T fails the test.
func Listen[T any](t *testing.T, url, subject string) *Messages[T] {
	t.Helper()
	nc := Connect(t, url)
	m := &Messages[T]{changed: make(chan struct{}), nc: nc}
	if _, err := nc.Subscribe(subject, func(msg *nats.Msg) {
		var v T
		if err := json.Unmarshal(msg.Data, &v); err != nil {
			t.Errorf("on %s: %v\n%s", subject, err, msg.Data)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.all = append(m.all, v)
		close(m.changed)
		m.changed = make(chan struct{})
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return m
}

// Close ends the connection to the broker before the test ends.
func (m *Messages[T]) Close() { m.nc.Close() }

// All returns what has come so far.
func (m *Messages[T]) All() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.all)
}

// Wait returns the first message that ok accepts, and fails the test if none comes in time; what says what is waited for.
func (m *Messages[T]) Wait(t *testing.T, limit time.Duration, what string, ok func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for looked := 0; ; {
		m.mu.Lock()
		fresh, changed := m.all[looked:], m.changed
		m.mu.Unlock()
		for _, v := range fresh {
			looked++
			if ok(v) {
				return v
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s: not among %d messages within %s", what, looked, limit)
		}
	}
}

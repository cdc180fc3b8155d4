package link_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
)

// away is a door that lets in members of other hosts, and what such a member asks with.
type away struct {
	*testing.T
	hub      *linktest.Hub
	acquire  *linktest.Faults
	listener link.Listener
}

const (
	beat = time.Second
	lost = 10 * time.Second
)

func newAway(t *testing.T, limit time.Duration) *away {
	a := &away{T: t, hub: linktest.NewHub()}
	a.acquire = linktest.NewFaults(a.hub)
	var err error
	a.listener, err = link.Listen(link.ListenerConfig{
		Transport: a.acquire, Base: "sluice.cam0", Groups: []string{"writer"}, Lost: limit,
		Alive: func(link.Join) bool { return false }, // nobody has a lock on this host
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.listener.Close()
		a.acquire.Close()
	})
	return a
}

// join asks for the name w0 from a process with a transport of its own.
func (a *away) join(nonce string, carriers ...string) (*linktest.Faults, error) {
	f := linktest.NewFaults(a.hub)
	a.Cleanup(f.Close)
	ctx, cancel := context.WithTimeout(a.Context(), time.Minute)
	defer cancel()
	c, err := link.NewDialer(link.DialerConfig{Transport: f, Base: "sluice.cam0"}).Dial(ctx, link.Join{
		Group: "writer", Name: "w0", PID: 1, Host: "h", Nonce: nonce, Carriers: carriers,
	})
	if err == nil {
		a.Cleanup(func() { c.Close() })
	}
	return f, err
}

func (a *away) accept() link.Conn {
	a.Helper()
	c, err := a.listener.Accept(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	return c
}

// TestAwayIsLetIn: who has no lock on acquire's host is let in if it can take pixels by JetStream, and if acquire wants that.
func TestAwayIsLetIn(t *testing.T) {
	for _, c := range []struct {
		limit    time.Duration
		carriers []string
		in       bool
	}{
		{lost, []string{link.SharedMemory, link.JetStream}, true},
		{lost, []string{link.JetStream}, true},
		{lost, []string{link.SharedMemory}, false},
		{lost, nil, false},
		{0, []string{link.JetStream}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAway(t, c.limit)
			_, err := a.join("first", c.carriers...)
			if c.in && err != nil || !c.in && !errors.Is(err, link.ErrRefused) {
				t.Errorf("%v, %v: %v", c.limit, c.carriers, err)
			}
		})
	}
}

// TestAwayDies: a member of another host that is silent is dead after the limit and not before. For what acquire could not
// hear nobody is dead.
func TestAwayDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, lost)
		member, err := a.join("first", link.JetStream)
		if err != nil {
			t.Fatal(err)
		}
		c := a.accept()
		<-time.After(3 * lost)
		if err := c.Err(); err != nil {
			t.Fatalf("it is dead while it lives: %v", err)
		}
		a.acquire.Cut()
		<-time.After(3 * lost)
		a.acquire.Restore()
		<-time.After(lost / 2)
		if err := c.Err(); err != nil {
			t.Fatalf("it is dead because acquire was cut off: %v", err)
		}
		member.Cut()
		<-time.After(lost - 2*beat)
		if err := c.Err(); err != nil {
			t.Fatalf("it is dead before its time: %v", err)
		}
		<-time.After(3 * beat)
		if err := c.Err(); !errors.Is(err, link.ErrPeerDead) {
			t.Errorf("it is silent: %v, want ErrPeerDead", err)
		}
	})
}

// TestAwayName: a process that was started in the place of a killed one gets its name as soon as that one is silent; the
// name of a living one is refused, also to a process of the same number.
func TestAwayName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, time.Hour)
		member, err := a.join("first", link.JetStream)
		if err != nil {
			t.Fatal(err)
		}
		first := a.accept()
		if _, err := a.join("second", link.JetStream); !errors.Is(err, link.ErrRefused) {
			t.Errorf("the name of a living process: %v, want ErrRefused", err)
		}
		if err := first.Err(); err != nil {
			t.Fatalf("the living process has lost its name: %v", err)
		}
		member.Cut()
		began := time.Now()
		if _, err := a.join("third", link.JetStream); err != nil {
			t.Fatalf("the name of a killed process: %v", err)
		}
		if took := time.Since(began); took > 5*beat {
			t.Errorf("it took %s", took)
		}
		if err := first.Err(); !errors.Is(err, link.ErrPeerDead) {
			t.Errorf("the killed one's connection: %v, want ErrPeerDead", err)
		}
		if c := a.accept(); c.Peer().Join.Nonce != "third" {
			t.Errorf("%q was let in", c.Peer().Join.Nonce)
		}
	})
}

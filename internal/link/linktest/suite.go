package linktest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Setup is a carrier and a transport under test.
type Setup struct {
	// Bubble is set when nothing of a World lies outside of the process: the cases then run on the time of
	// [synctest].
	Bubble bool
	// New makes the surroundings of one case. What it makes ends with the test.
	New func(t *testing.T) World
}

// World is what one camera's processes have in common.
type World struct {
	// Transport is one more process's.
	Transport func() link.Transport
	// Restart takes away what lies between the processes and brings it back; nil where there is nothing.
	Restart func()
	// Announce is a member's sign of life, until leave is called. Alive asks for it. Both are nil where a
	// process's death cannot be known.
	Announce func(name string) (leave func())
	Alive    func(link.Join) bool
	// Listen puts a carrier's part of acquire in front of its door; nil where it has none.
	Listen func(link.Listener) link.Listener
	// Copies is set where a member has a frame's pixels in memory of its own.
	Copies bool
	// Source is acquire's side of a run; nil where a carrier's frames are tested elsewhere.
	Source func() Source
}

// Source is acquire's side of a run's frames.
type Source interface {
	// Armed describes the run, whose frames have at least 1 KiB and of which at least 8 are held.
	Armed() link.Armed
	// Carrier is the members' side.
	Carrier() link.Carrier
	// Put stores a frame and returns its offer.
	Put(seq uint64, pixels []byte) frames.Offer
	// Reclaim begins to write another frame in the place of an offered one.
	Reclaim(o frames.Offer)
}

// patience bounds every wait for what must happen.
const patience = 30 * time.Second

var timing = link.Timing{Heartbeat: 240 * time.Millisecond, Repeat: 60 * time.Millisecond, Confirm: 5 * time.Millisecond}

// Run runs the suite.
func Run(t *testing.T, s Setup) {
	for _, c := range []struct {
		name string
		run  func(k *kit)
	}{
		{"exactly once and in order", exactlyOnce},
		{"first and last of each kind lost", ofEachKind},
		{"end lost again and again", lostEnd},
		{"confirmed without traffic back", confirmed},
		{"memory of the sender", senderMemory},
		{"memory of the receiver", receiverMemory},
		{"connection cut", cutOff},
		{"what lies between restarts", restart},
		{"slow receiver", slowReceiver},
		{"malformed packets", malformed},
		{"lost welcome", lostWelcome},
		{"late join", lateJoin},
		{"refusals", refusals},
		{"joins again", joinsAgain},
		{"one name twice", oneName},
		{"dead or hung", deadOrHung},
		{"acquire restarts", acquireRestarts},
		{"closed by acquire", closedByAcquire},
		{"closed before it was answered", closedEarly},
		{"flood of joins", flood},
		{"close", closing},
		{"frames", pixels},
		{"frames refused", badOffers},
		{"frames taken back", takenBack},
		{"runs", runs},
		{"member joins again", memberAgain},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s.Bubble {
				synctest.Test(t, func(t *testing.T) { c.run(newKit(t, s)) })
			} else {
				c.run(newKit(t, s))
			}
		})
	}
}

// kit is what the cases are made with.
type kit struct {
	World
	*testing.T
	ctx    context.Context
	base   string
	bubble bool
}

func newKit(t *testing.T, s Setup) *kit {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return &kit{World: s.New(t), T: t, ctx: ctx, base: fmt.Sprintf("sluice.cam%d", time.Now().UnixNano()%1e9), bubble: s.Bubble}
}

// process is one more process's transport.
func (k *kit) process() *Faults {
	f := NewFaults(k.Transport())
	k.Cleanup(f.Close)
	return f
}

func (k *kit) listen(f *Faults) link.Listener {
	k.Helper()
	l, err := link.Listen(link.ListenerConfig{
		Transport: f, Base: k.base, Timing: timing, Groups: []string{"writer", "analyze"},
		Alive: k.Alive, AlivePeriod: 20 * time.Millisecond,
	})
	if err != nil {
		k.Fatal(err)
	}
	if k.Listen != nil {
		l = k.Listen(l)
	}
	k.Cleanup(func() { l.Close() })
	return l
}

func (k *kit) dialer(f *Faults) link.Dialer {
	return link.NewDialer(link.DialerConfig{
		Transport: f, Base: k.base, Timing: timing, Carrier: "test",
		Health: func() link.Health { return link.Health{Frames: 7} },
	})
}

// announce is a member's sign of life. The process of this test is the one that lives.
func (k *kit) announce(name string) (leave func()) {
	if k.Announce == nil {
		return func() {}
	}
	return k.Announce(name)
}

func (k *kit) dial(f *Faults, j link.Join) link.Conn {
	k.Helper()
	c, err := k.dialer(f).Dial(k.ctx, j)
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { c.Close() })
	return c
}

func (k *kit) accept(l link.Listener) link.Conn {
	k.Helper()
	c, err := l.Accept(k.ctx)
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { c.Close() })
	return c
}

// pair is a connection, both ends of it and their transports.
type pair struct {
	listener        link.Listener
	acquire, member link.Conn
	up, down        *Faults // the member's and acquire's transport: what each sends
}

// pair connects a member of the group writer.
func (k *kit) pair(name string) pair {
	k.Helper()
	p := pair{up: k.process(), down: k.process()}
	p.listener = k.listen(p.down)
	k.announce(name)
	p.member = k.dial(p.up, joinOf(name))
	p.acquire = k.accept(p.listener)
	return p
}

func (k *kit) send(c link.Conn, kind frames.Kind, body string) {
	k.Helper()
	if err := c.Send(kind, []byte(body)); err != nil {
		k.Fatal(err)
	}
}

func (k *kit) receive(c link.Conn, kind frames.Kind, body string) {
	k.Helper()
	got, b, err := c.Receive(k.ctx)
	if err != nil || got != kind || string(b) != body {
		k.Fatalf("received kind %d, %.40q, %v; want kind %d, %.40q", got, b, err, kind, body)
	}
}

// ends waits until a connection has ended.
func (k *kit) ends(c link.Conn, want error) {
	k.Helper()
	if _, b, err := c.Receive(k.ctx); !errors.Is(err, want) {
		k.Fatalf("received %.40q, %v; want %v", b, err, want)
	}
	if err := c.Err(); !errors.Is(err, want) {
		k.Errorf("its error is %v, want %v", err, want)
	}
}

// until waits for a state that comes about by itself.
func (k *kit) until(what string, ok func() bool) {
	k.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-k.ctx.Done():
			k.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// never watches that a state does not come about while packets would have been repeated several times.
func (k *kit) never(what string, bad func() bool) {
	k.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(5 * timing.Repeat)
	defer end.Stop()
	for {
		if bad() {
			k.Fatal(what)
		}
		select {
		case <-end.C:
			return
		case <-tick.C:
		}
	}
}

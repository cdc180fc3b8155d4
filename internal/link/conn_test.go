package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a transport that keeps what is sent.
type wire struct {
	mu   sync.Mutex // guards what follows
	sent []frames.Packet
	subs map[string]func(string, []byte)
	down bool
}

func (w *wire) Publish(_ string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return io.ErrClosedPipe
	}
	p, err := frames.DecodePacket(bytes.Clone(data))
	w.sent = append(w.sent, p)
	return err
}

func (w *wire) Subscribe(subject string, f func(string, []byte)) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs == nil {
		w.subs = map[string]func(string, []byte){}
	}
	w.subs[subject] = f
	return func() {}, nil
}

func (w *wire) Connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.down
}

func (w *wire) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// take returns what was sent since it was called last.
func (w *wire) take() []frames.Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

func newTestConn(t *testing.T, w *wire) *conn {
	c := newConn(5, ends{transport: w, subject: "s", timing: Timing{Heartbeat: 2 * time.Hour}}, Peer{})
	go c.keep()
	t.Cleanup(func() { c.Close() })
	synctest.Wait()
	if first := w.take(); len(first) != 1 || first[0].Kind != frames.KindHeartbeat {
		t.Fatalf("it began with %+v", first)
	}
	return c
}

func numbers(ps []frames.Packet) []uint64 {
	var n []uint64
	for _, p := range ps {
		n = append(n, p.N)
	}
	return n
}

// When a packet is repeated, and when it is left alone.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		c := newTestConn(t, w)
		expect := func(what string, want ...uint64) {
			t.Helper()
			synctest.Wait()
			if got := numbers(w.take()); !slices.Equal(got, want) {
				t.Errorf("%s: sent %v, want %v", what, got, want)
			}
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		for range 3 {
			if err := c.Send(frames.KindEnd, []byte("body")); err != nil {
				t.Fatal(err)
			}
		}
		expect("at first", 1, 2, 3)
		pass(190 * time.Millisecond)
		if err := c.Send(frames.KindEnd, []byte("late")); err != nil {
			t.Fatal(err)
		}
		expect("before their time", 4)
		pass(30 * time.Millisecond)
		expect("the old ones alone", 1, 2, 3)
		pass(170 * time.Millisecond)
		expect("after the same time again")
		pass(250 * time.Millisecond)
		expect("after twice the time", 1, 2, 3, 4)
		c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: 2})
		pass(220 * time.Millisecond)
		expect("some confirmed", 3, 4)
		for _, ack := range []uint64{5, 1 << 60, ^uint64(0)} {
			c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: ack})
		}
		w.setDown(true)
		pass(time.Hour - time.Second)
		if n := c.Peer(); n.Repeated != 9 || n.Unconfirmed != 2 {
			t.Errorf("repeated %d, unconfirmed %d; want 9, 2: while it is cut nothing is tried", n.Repeated, n.Unconfirmed)
		}
		w.setDown(false)
		pass(20 * time.Millisecond)
		expect("when it is back", 3, 4)
		c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: 4})
		pass(time.Second / 2)
		expect("all confirmed")
	})
}

// A burst of repeats is bounded, in packets and in bytes.
func TestRepeatBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		c := newTestConn(t, w)
		for range 300 {
			if err := c.Send(frames.KindEnd, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		w.take()
		<-time.After(201 * time.Millisecond)
		synctest.Wait()
		if n := len(w.take()); n != repeatBurst {
			t.Errorf("%d packets at once, want %d", n, repeatBurst)
		}
		c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: 300})
		for range 5 {
			if err := c.Send(frames.KindEnd, make([]byte, 300_000)); err != nil {
				t.Fatal(err)
			}
		}
		w.take()
		<-time.After(220 * time.Millisecond)
		synctest.Wait()
		if n := len(w.take()); n != 3 {
			t.Errorf("%d packets of 300 kB at once, want 3", n)
		}
	})
}

// When what came in is confirmed.
func TestConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		c := newTestConn(t, w)
		in := func(n uint64) {
			c.handle(frames.Packet{Kind: frames.KindReady, Conn: 5, N: n, Body: []byte{byte(n)}})
		}
		confirms := func(what string, want ...uint64) {
			t.Helper()
			synctest.Wait()
			var got []uint64
			for _, p := range w.take() {
				got = append(got, p.Ack)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: confirmed %v, want %v", what, got, want)
			}
		}
		in(1)
		confirms("one packet can wait")
		<-time.After(20 * time.Millisecond)
		confirms("but not for long", 1)
		<-time.After(time.Second)
		confirms("once is enough")
		for n := uint64(2); n < 2+confirmEvery; n++ {
			in(n)
		}
		confirms("many are confirmed at once", 1+confirmEvery)
		in(1)
		confirms("a repeat says that our word was lost", 1+confirmEvery)
		in(70)
		in(68)
		in(70)
		<-time.After(time.Second)
		confirms("a gap confirms nothing")
		in(67)
		in(66)
		<-time.After(20 * time.Millisecond)
		confirms("up to the next gap", 68)
		in(69)
		if err := c.Send(frames.KindEnd, nil); err != nil {
			t.Fatal(err)
		}
		confirms("a message carries it", 70)
		for n := range byte(70) {
			_, b, err := c.Receive(t.Context())
			if err != nil || !bytes.Equal(b, []byte{n + 1}) {
				t.Fatalf("received %v, %v; want %d", b, err, n+1)
			}
		}
	})
}

// What is kept because an earlier packet is missing is bounded, in packets and in bytes.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestConn(t, &wire{})
		in := func(n uint64, size int) {
			c.handle(frames.Packet{Kind: frames.KindReady, Conn: 5, N: n, Body: make([]byte, size)})
		}
		for n := uint64(2); n < 2*ahead; n++ {
			in(n, 1)
			in(n, 1)
		}
		if len(c.waiting) != ahead-1 || c.waitingBytes != (ahead-1)*(1+packetBytes) {
			t.Errorf("%d packets of %d bytes wait, want %d", len(c.waiting), c.waitingBytes, ahead-1)
		}
		in(1, 1)
		if c.seen != ahead || len(c.waiting) != 0 || c.waitingBytes != 0 {
			t.Errorf("saw %d, %d packets of %d bytes wait; want %d, 0, 0", c.seen, len(c.waiting), c.waitingBytes, ahead)
		}
		for n := range uint64(100) {
			in(ahead+2+n, 1<<20)
		}
		if want := 3 * (1<<20 + packetBytes); c.waitingBytes != want {
			t.Errorf("%d bytes wait, want %d", c.waitingBytes, want)
		}
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestConn(t, &wire{})
		for _, body := range []string{
			`{"frames":7}`, ``, `{"frames":8,"busy"`, `[]`, `{"frames":"many"}`, strings.Repeat("[", 100000), `{"busy":-1}`, `{"starved":1e308}`,
			`{"blocked":2}`, `{"sync_p50_ns":"-1"}`, `{"path":"` + strings.Repeat("x", 5000) + `"}`, `{"fallback":"` + strings.Repeat("x", 2000) + `"}`,
			`{"frames":18446744073709551616}`,
		} {
			c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Body: []byte(body)})
			if h := c.Peer().Health; h != (Health{Frames: 7}) {
				t.Errorf("after %.20q: %+v", body, h)
			}
		}
		c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Body: []byte(`{"path":"/a\u001b[2J\nb","frames":18446744073709551615}`)})
		if h := c.Peer().Health; h != (Health{Frames: 1<<64 - 1, Path: "/a [2J b"}) {
			t.Errorf("%+v", h)
		}
	})
}

// A message costs no allocation once the buffers are there, and the buffers are bounded.
func TestSendAllocates(t *testing.T) {
	w := discard{}
	c := newConn(5, ends{transport: w, subject: "s"}, Peer{})
	body := make([]byte, 500)
	n := uint64(0)
	send := func() {
		for range 10 {
			if err := c.Send(frames.KindFrames, body); err != nil {
				t.Fatal(err)
			}
			n++
		}
		c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: n})
	}
	send()
	if a := testing.AllocsPerRun(100, send); a != 0 {
		t.Errorf("%v allocations for ten messages, want 0", a)
	}
	for range 1000 {
		if err := c.Send(frames.KindFrames, body); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := c.Send(frames.KindFrames, make([]byte, maxBody)); err != nil {
		t.Fatal(err)
	}
	n++
	c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: n})
	if len(c.spare) != spareBuffers || len(c.out) != 0 {
		t.Errorf("%d spare buffers, %d packets out; want %d, 0", len(c.spare), len(c.out), spareBuffers)
	}
	for _, b := range c.spare {
		if cap(b) > spareBytes {
			t.Errorf("a buffer of %d bytes is kept", cap(b))
		}
	}
	if err := c.Send(frames.KindFrames, make([]byte, maxBody+1)); !errors.Is(err, ErrProtocol) {
		t.Errorf("too large: %v, want ErrProtocol", err)
	}
}

// stuck is a transport whose broker has stopped reading.
type stuck struct {
	discard
	began, release chan struct{}
}

func (s stuck) Publish(string, []byte) error {
	s.began <- struct{}{}
	<-s.release
	return nil
}

// To look at a connection never waits for the network.
func TestLooksWhileStuck(t *testing.T) {
	w := stuck{began: make(chan struct{}), release: make(chan struct{})}
	c := newConn(5, ends{transport: w, subject: "s"}, Peer{})
	sent := make(chan error)
	go func() { sent <- c.Send(frames.KindEnd, nil) }()
	<-w.began
	if p, err := c.Peer(), c.Err(); p.Unconfirmed != 1 || err != nil {
		t.Errorf("unconfirmed %d, %v; want 1, nil", p.Unconfirmed, err)
	}
	close(w.release)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	c.fail(ErrReset)
	if err := c.Err(); !errors.Is(err, ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
}

type discard struct{}

func (discard) Publish(string, []byte) error                           { return nil }
func (discard) Subscribe(string, func(string, []byte)) (func(), error) { return func() {}, nil }
func (discard) Connected() bool                                        { return true }

// The listener's answers to requests, one by one.
func TestAnswers(t *testing.T) {
	w := &wire{}
	dead := false // process 10
	lis, err := Listen(ListenerConfig{
		Transport: w, Base: "b", Timing: Timing{Heartbeat: time.Hour}, Groups: []string{"writer"},
		Alive: func(j Join) bool { return !dead || j.PID != 10 }, AlivePeriod: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := lis.(*listener)
	defer l.Close()
	ask := func(name, nonce string, id uint64, pid int) string {
		body := fmt.Sprintf(`{"v":2,"group":"writer","name":%q,"nonce":%q,"conn":"%d","pid":%d}`, name, nonce, id, pid)
		l.join("b.link.join.writer", frames.AppendPacket(nil, frames.Packet{Kind: frames.KindJoin, Conn: id, Body: []byte(body)}))
		for _, p := range w.take() {
			switch {
			case p.Kind == frames.KindReset && p.Conn == id:
				return "reset"
			case p.Kind == frames.KindWelcome && p.Conn == id:
				return string(p.Body)
			}
		}
		return ""
	}
	for i, c := range []struct {
		name, nonce string
		id          uint64
		pid         int
		dead        bool
		want        string
	}{
		{"w0", "n", 1, 10, false, `{"v":2}`},
		{"w0", "n", 1, 10, false, `{"v":2}`},                                                    // a repeat
		{"w1", "n", 1, 10, false, `reset`},                                                      // another's connection
		{"w0", "m", 2, 11, false, `{"v":2,"refused":"the name \"w0\" is taken by process 10"}`}, // it lives
		{"w0", "n", 1, 10, false, `{"v":2}`},                                                    // unharmed
		{"w0", "m", 2, 11, true, `{"v":2}`},                                                     // it is dead
		{"w0", "n", 1, 10, false, `reset`},                                                      // a late repeat
		{"w0", "m", 3, 11, false, `{"v":2}`},                                                    // the same process again
		{"w0", "x", 4, 11, false, `{"v":2}`},                                                    // another with its number
	} {
		dead = c.dead
		if got := ask(c.name, c.nonce, c.id, c.pid); got != c.want {
			t.Errorf("request %d: %s, want %s", i, got, c.want)
		}
	}
	accept := func() uint64 {
		c, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.(*conn).id
	}
	if id := accept(); id != 4 {
		t.Errorf("accepted %d, want 4: those before have ended", id)
	}
	for i := range uint64(maxMembers - 1) {
		if got := ask(fmt.Sprintf("x%d", i), "n", 100+i, 1); got != `{"v":2}` {
			t.Fatalf("member %d: %s", i, got)
		}
	}
	if got, want := ask("more", "n", 1000, 1), `{"v":2,"refused":"256 members have joined, there is room for no more"}`; got != want {
		t.Errorf("one too many: %s, want %s", got, want)
	}
	// Nobody accepts: those who come again and again are not answered, and hear of it later.
	for i := range uint64(10) {
		if got, want := ask("x0", "again", 2000+i, 1), ""; i > 0 && got != want {
			t.Errorf("while acquire is busy: %s, want no answer", got)
		}
	}
	for range maxMembers - 1 {
		accept()
	}
	if len(l.conns) != maxMembers {
		t.Errorf("%d connections, want %d", len(l.conns), maxMembers)
	}
	before := runtime.NumGoroutine()
	if before > maxMembers+20 {
		t.Errorf("%d goroutines for %d members", before, maxMembers)
	}
	l.Close()
	w.take()
	if got := ask("late", "n", 5000, 1); got != "" {
		t.Errorf("a closed listener answers %s", got)
	}
}

// The numbers of past connections are bounded.
func TestPastConns(t *testing.T) {
	lis, err := Listen(ListenerConfig{Transport: &wire{}, Base: "b"})
	if err != nil {
		t.Fatal(err)
	}
	l := lis.(*listener)
	defer l.Close()
	for i := range uint64(2 * pastConns) {
		l.forget(&conn{id: i})
	}
	if len(l.past) != pastConns || len(l.order) != pastConns || l.past[0] || !l.past[2*pastConns-1] {
		t.Errorf("%d and %d numbers are kept", len(l.past), len(l.order))
	}
}

func BenchmarkSend(b *testing.B) {
	c := newConn(5, ends{transport: discard{}, subject: "s"}, Peer{})
	body := make([]byte, 32*frames.OfferSize)
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		if err := c.Send(frames.KindFrames, body); err != nil {
			b.Fatal(err)
		}
		if n%confirmEvery == 0 {
			c.handle(frames.Packet{Kind: frames.KindHeartbeat, Conn: 5, Ack: n})
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	c := newConn(5, ends{transport: discard{}, subject: "s"}, Peer{})
	body := make([]byte, 32*frames.OfferSize)
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		c.handle(frames.Packet{Kind: frames.KindReleases, Conn: 5, N: n, Body: body})
		if _, _, err := c.Receive(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

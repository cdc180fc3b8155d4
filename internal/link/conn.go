package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Timing of a connection. The zero value of each field means its default.
type Timing struct {
	// Heartbeat is how often each side tells its state (1 s).
	Heartbeat time.Duration
	// Repeat is how long a packet waits for its confirmation before it is sent again (200 ms). It doubles
	// up to eight times that while nothing is heard.
	Repeat time.Duration
	// Confirm is how long a confirmation may wait for a packet that can carry it (20 ms).
	Confirm time.Duration
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Heartbeat, time.Second)
	set(&t.Repeat, 200*time.Millisecond)
	set(&t.Confirm, 20*time.Millisecond)
	return t
}

const (
	// ahead bounds the packets that are kept because an earlier one is missing. The others come again.
	ahead = 4096
	// repeatBurst bounds the packets that are sent again at once.
	repeatBurst = 256
	// confirmEvery is how many packets may come in before they are confirmed without delay.
	confirmEvery = 64
)

// message is one numbered packet on its way out or in.
type message struct {
	n    uint64
	kind frames.Kind
	body []byte
	sent time.Time
}

// conn is the one implementation of Conn: numbers, confirmations and repeats over a Transport.
type conn struct {
	id        uint64
	transport Transport
	subject   string // where its packets go
	timing    Timing
	health    func() Health // what its heartbeats say; nil says nothing

	mu       sync.Mutex // guards everything below
	peer     Peer
	lastN    uint64    // number of the newest packet sent
	out      []message // sent and not confirmed, in order
	backoff  int       // of Repeat, as a power of two
	seen     uint64    // every packet up to this number came in
	waiting  map[uint64]message
	in       []message // received, in order, not yet asked for
	owed     int       // packets that came in since the last confirmation went out
	dubious  bool      // a repeat came in: the other side lacks our confirmation
	err      error
	scratch  []byte
	arrived  chan struct{} // a token when in or err changed
	kick     chan struct{} // a token when a confirmation is due at once
	done     chan struct{} // closed when err is set
	finished chan struct{} // closed when the keeper has ended
}

var _ Conn = (*conn)(nil)

func newConn(id uint64, t Transport, subject string, peer Peer, timing Timing, health func() Health) *conn {
	peer.Heard = time.Now()
	c := &conn{
		id: id, transport: t, subject: subject, timing: timing.withDefaults(), health: health,
		peer: peer, waiting: map[uint64]message{},
		arrived: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		done: make(chan struct{}), finished: make(chan struct{}),
	}
	go c.keep()
	return c
}

// Send implements Conn.
func (c *conn) Send(kind frames.Kind, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.lastN++
	m := message{n: c.lastN, kind: kind, body: append([]byte(nil), body...), sent: time.Now()}
	c.out = append(c.out, m)
	c.transmit(m)
	return nil
}

// transmit puts one packet on the transport. An error is a lost datagram: it will be repeated.
func (c *conn) transmit(m message) {
	c.scratch = frames.AppendPacket(c.scratch[:0], frames.Packet{Kind: m.kind, Conn: c.id, N: m.n, Ack: c.seen, Body: m.body})
	c.owed, c.dubious = 0, false
	_ = c.transport.Publish(c.subject, c.scratch)
}

// Receive implements Conn.
func (c *conn) Receive(ctx context.Context) (frames.Kind, []byte, error) {
	for {
		c.mu.Lock()
		if len(c.in) > 0 {
			m := c.in[0]
			c.in[0].body = nil
			if c.in = c.in[1:]; len(c.in) == 0 {
				c.in = nil
			}
			c.mu.Unlock()
			return m.kind, m.body, nil
		}
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return 0, nil, err
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-c.arrived:
		}
	}
}

// handle takes one packet of this connection from the transport.
func (c *conn) handle(p frames.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.peer.Heard = time.Now()
	if p.Ack <= c.lastN {
		c.confirmed(p.Ack)
	}
	switch {
	case p.Kind == frames.KindReset:
		c.end(ErrReset)
	case p.Kind == frames.KindHeartbeat:
		var h Health
		if len(p.Body) > 0 && json.Unmarshal(p.Body, &h) == nil {
			c.peer.Health = h
		}
	case p.N == 0: // an answer to a join that came late
	case p.N <= c.seen:
		c.dubious = true // sent again because our confirmation was lost
	case p.N > c.seen+ahead:
	default:
		c.waiting[p.N] = message{n: p.N, kind: p.Kind, body: p.Body}
		c.advance()
	}
	if c.dubious || c.owed >= confirmEvery {
		token(c.kick)
	}
}

// advance moves packets that have become next in order to the reader.
func (c *conn) advance() {
	before := len(c.in)
	for {
		m, ok := c.waiting[c.seen+1]
		if !ok {
			break
		}
		delete(c.waiting, c.seen+1)
		c.seen++
		c.owed++
		c.in = append(c.in, m)
	}
	if len(c.in) > before {
		token(c.arrived)
	}
}

// confirmed forgets the packets up to number n.
func (c *conn) confirmed(n uint64) {
	i := 0
	for i < len(c.out) && c.out[i].n <= n {
		i++
	}
	if i > 0 {
		clear(c.out[:i])
		if c.out = c.out[i:]; len(c.out) == 0 {
			c.out = nil
		}
		c.backoff = 0
	}
}

// keep sends heartbeats, late confirmations and repeats until the connection ends.
func (c *conn) keep() {
	defer close(c.finished)
	beat := time.NewTicker(c.timing.Heartbeat)
	defer beat.Stop()
	tick := time.NewTicker(c.timing.Confirm)
	defer tick.Stop()
	c.heartbeat()
	for {
		select {
		case <-c.done:
			return
		case <-beat.C:
			c.heartbeat()
		case <-c.kick:
			c.confirm()
		case <-tick.C:
			c.repeat()
			c.mu.Lock()
			due := c.owed > 0 || c.dubious
			c.mu.Unlock()
			if due {
				c.confirm()
			}
		}
	}
}

func (c *conn) heartbeat() {
	var body []byte
	if c.health != nil {
		body, _ = json.Marshal(c.health()) // a struct of numbers and strings
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transmit(message{kind: frames.KindHeartbeat, body: body})
}

// confirm sends a heartbeat without a body: its Ack is what counts.
func (c *conn) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transmit(message{kind: frames.KindHeartbeat})
}

// repeat sends again what has waited too long for its confirmation.
func (c *conn) repeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 || !c.transport.Connected() {
		return
	}
	now := time.Now()
	if now.Sub(c.out[0].sent) < c.timing.Repeat<<c.backoff {
		return
	}
	for i := range min(len(c.out), repeatBurst) {
		c.out[i].sent = now
		c.transmit(c.out[i])
		c.peer.Repeated++
	}
	c.backoff = min(c.backoff+1, 3)
}

// Peer implements Conn.
func (c *conn) Peer() Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peer
	p.Unconfirmed = len(c.out)
	return p
}

// Err implements Conn.
func (c *conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close implements Conn.
func (c *conn) Close() error {
	c.fail(ErrClosed)
	<-c.finished
	return nil
}

// fail ends the connection with err.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(err)
}

// end ends the connection once. c.mu is held.
func (c *conn) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.out, c.waiting = nil, nil
	close(c.done)
	token(c.arrived)
}

// token leaves a token in a channel of capacity one.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// decode is json.Unmarshal with an error that wraps ErrProtocol.
func decode(kind frames.Kind, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: body of a packet of kind %d: %w", ErrProtocol, kind, err)
	}
	return nil
}

// Dead reports whether err means that the other process has ended or forgot us, rather than that we closed.
func Dead(err error) bool { return errors.Is(err, ErrPeerDead) || errors.Is(err, ErrReset) }

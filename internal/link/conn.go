package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// maxBody bounds a message: with its header it is what a broker takes by default, 1 MiB.
	maxBody = 1<<20 - 32
	// ahead and aheadBytes bound the packets that are kept because an earlier one is missing. The others
	// come again.
	ahead      = 4096
	aheadBytes = 4 << 20
	// unreadBytes bounds what is kept for a reader that does not come. What comes beyond is not confirmed.
	unreadBytes = 4 << 20
	// ownBytes of that are a connection's own: the rest must be had from what all connections share.
	ownBytes = 80 << 10
	// packetBytes is what keeping a packet takes besides its body.
	packetBytes = 128
	// repeatBurst and repeatBytes bound the packets that are sent again at once.
	repeatBurst = 256
	repeatBytes = 1 << 20
	// maxBackoff is how often the time before a repeat doubles.
	maxBackoff = 3
	// confirmEvery is how many packets may come in before they are confirmed without delay.
	confirmEvery = 64
	// spareBuffers bounds the buffers of confirmed packets that are kept for the next ones, spareBytes each.
	spareBuffers = 64
	spareBytes   = 64 << 10
)

// outgoing is a numbered packet that was sent and not confirmed.
type outgoing struct {
	n      uint64
	kind   frames.Kind
	packet []byte
	sent   time.Time
}

// message is a numbered packet that came in.
type message struct {
	kind frames.Kind
	body []byte
}

// conn is the one implementation of Conn: numbers, confirmations and repeats over a Transport.
type conn struct {
	id        uint64
	transport Transport
	subject   string // where its packets go
	join      Join   // of the other end; zero for acquire
	timing    Timing
	health    func() Health // what its heartbeats say; nil says nothing
	room      *room         // for the packets that it keeps; nil has no end
	book      *refusal.Book
	away      bool // its process is on another host: only its silence can say that it is dead

	// What follows is the receiving goroutine's alone.
	taken []message
	next  int // of taken

	looks sync.Mutex // guards peer; never held while the transport is called, so that to look never blocks
	peer  Peer

	mu           sync.Mutex // guards everything below
	lastN        uint64     // number of the newest packet sent
	out          []outgoing // in order
	spare        [][]byte   // buffers of confirmed packets
	backoff      int        // of Repeat, as a power of two
	seen         uint64     // every packet up to this number came in
	waiting      map[uint64]message
	waitingBytes int       // all of it from room
	in           []message // received, in order, not yet asked for
	inBytes      int
	inShared     int  // of inBytes what is from room
	owed         int  // packets that came in since the last confirmation went out
	dubious      bool // a repeat came in: the other side lacks our confirmation
	err          error
	scratch      []byte        // for packets without a number
	arrived      chan struct{} // a token when in or err changed
	kick         chan struct{} // a token when a confirmation is due at once
	done         chan struct{} // closed when err is set
	finished     chan struct{} // closed when keep has ended
}

var _ Conn = (*conn)(nil)

// ends is what a connection is made of beside the peer.
type ends struct {
	transport Transport
	subject   string
	timing    Timing
	health    func() Health
	room      *room
	book      *refusal.Book
}

// newConn returns a connection. Who makes it runs keep in a goroutine.
func newConn(id uint64, e ends, peer Peer) *conn {
	peer.Heard = time.Now()
	return &conn{
		id: id, transport: e.transport, subject: e.subject, join: peer.Join, timing: e.timing.withDefaults(), health: e.health,
		room: e.room, book: e.book,
		peer: peer, waiting: map[uint64]message{},
		arrived: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		done: make(chan struct{}), finished: make(chan struct{}),
	}
}

// Send implements Conn.
func (c *conn) Send(kind frames.Kind, body []byte) error {
	if len(body) > maxBody {
		return fmt.Errorf("%w: a message of %d bytes, at most %d travel", ErrProtocol, len(body), maxBody)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.lastN++
	var b []byte
	if n := len(c.spare); n > 0 {
		b, c.spare = c.spare[n-1][:0], c.spare[:n-1]
	}
	b = frames.AppendPacket(b, frames.Packet{Kind: kind, Conn: c.id, N: c.lastN, Body: body})
	c.out = append(c.out, outgoing{n: c.lastN, kind: kind, packet: b})
	c.note(func(p *Peer) { p.Unconfirmed = len(c.out) })
	c.transmit(&c.out[len(c.out)-1], time.Now())
	return nil
}

// Receive implements Conn.
func (c *conn) Receive(ctx context.Context) (frames.Kind, []byte, error) {
	for {
		if c.next < len(c.taken) {
			m := c.taken[c.next]
			c.taken[c.next] = message{}
			c.next++
			return m.kind, m.body, nil
		}
		c.mu.Lock()
		c.taken, c.in = c.in, c.taken[:0]
		c.next = 0
		c.empty()
		err := c.err
		c.mu.Unlock()
		if len(c.taken) > 0 {
			continue
		}
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

// Peer implements Conn.
func (c *conn) Peer() Peer {
	c.looks.Lock()
	defer c.looks.Unlock()
	return c.peer
}

// note changes what is known of the other end.
func (c *conn) note(f func(*Peer)) {
	c.looks.Lock()
	defer c.looks.Unlock()
	f(&c.peer)
}

// Done implements Conn.
func (c *conn) Done() <-chan struct{} { return c.done }

// Err implements Conn.
func (c *conn) Err() error {
	select {
	case <-c.done:
		return c.err // set before done was closed, and never after
	default:
		return nil
	}
}

// Close implements Conn.
func (c *conn) Close() error {
	c.fail(ErrClosed)
	c.mu.Lock()
	c.empty() // what is left is read by this side now, or goes with the connection
	c.mu.Unlock()
	<-c.finished
	return nil
}

// empty gives back the room of what was received. c.mu is held.
func (c *conn) empty() {
	c.room.give(c.inShared)
	c.inBytes, c.inShared = 0, 0
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
	c.room.give(c.waitingBytes)
	c.out, c.spare, c.waiting, c.waitingBytes = nil, nil, nil, 0
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

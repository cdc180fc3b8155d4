package link

import (
	"encoding/json"
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// transmit puts a numbered packet on the transport, with the newest confirmation. An error is a lost datagram: it
// will be repeated. c.mu is held.
func (c *conn) transmit(m *outgoing, now time.Time) {
	m.sent = now
	// The header alone is written again, in place: the body behind it stays.
	frames.AppendPacket(m.packet[:0], frames.Packet{Kind: m.kind, Conn: c.id, N: m.n, Ack: c.seen})
	c.publish(m.packet)
}

// tell puts a heartbeat on the transport. c.mu is held.
func (c *conn) tell(body []byte) {
	c.scratch = frames.AppendPacket(c.scratch[:0], frames.Packet{Kind: frames.KindHeartbeat, Conn: c.id, Ack: c.seen, Body: body})
	c.publish(c.scratch)
}

func (c *conn) publish(packet []byte) {
	c.owed, c.dubious = 0, false
	_ = c.transport.Publish(c.subject, packet)
}

// handle takes one packet of this connection from the transport. Nothing in it is trusted.
func (c *conn) handle(p frames.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.note(func(p *Peer) { p.Heard = time.Now() })
	if p.Ack <= c.lastN {
		c.confirmed(p.Ack)
	}
	switch {
	case p.Kind == frames.KindReset:
		c.end(ErrReset)
	case p.Kind == frames.KindHeartbeat:
		if len(p.Body) > 0 {
			c.learn(p.Body)
		}
	case p.N == 0: // an answer to a join that came late
	case p.N <= c.seen:
		c.dubious = true // sent again because our confirmation was lost
	case p.N == c.seen+1:
		if !c.accept(message{p.Kind, p.Body}) {
			c.book.Count(refusal.Unkept, 1)
		}
	default:
		c.wait(p)
	}
	if c.dubious || c.owed >= confirmEvery {
		token(c.kick)
	}
}

// learn takes the other side's state from a heartbeat. c.mu is held.
func (c *conn) learn(body []byte) {
	var h Health
	err := decode(frames.KindHeartbeat, body, &h)
	if err == nil {
		err = h.check()
	}
	if err != nil {
		c.book.Note(refusal.Health, err, "member", c.join.Name)
		return
	}
	c.note(func(p *Peer) { p.Health = h })
}

// size is what keeping a message takes.
func (m message) size() int { return len(m.body) + packetBytes }

// accept takes the packet that is next in order, and those that waited for it; false where there is no room for it now.
func (c *conn) accept(m message) bool {
	if c.inBytes+m.size() > ownBytes && c.inBytes > 0 { // one packet always goes
		if c.inBytes >= unreadBytes || !c.room.take(m.size()) {
			return false
		}
		c.inShared += m.size()
	}
	for ok := true; ok; {
		c.seen++
		c.owed++
		c.in = append(c.in, m)
		c.inBytes += m.size()
		if m, ok = c.waiting[c.seen+1]; ok {
			delete(c.waiting, c.seen+1)
			c.waitingBytes -= m.size()
			c.inShared += m.size() // its room goes with it
		}
	}
	token(c.arrived)
	return true
}

// wait keeps a packet that an earlier one is missing for, if there is room.
func (c *conn) wait(p frames.Packet) {
	if _, again := c.waiting[p.N]; again {
		return
	}
	m := message{p.Kind, p.Body}
	if p.N-c.seen > ahead || c.waitingBytes+m.size() > aheadBytes || !c.room.take(m.size()) {
		c.book.Count(refusal.Unkept, 1)
		return
	}
	c.waiting[p.N] = m
	c.waitingBytes += m.size()
}

// confirmed forgets the packets up to number n.
func (c *conn) confirmed(n uint64) {
	i := 0
	for ; i < len(c.out) && c.out[i].n <= n; i++ {
		if b := c.out[i].packet; len(c.spare) < spareBuffers && cap(b) <= spareBytes {
			c.spare = append(c.spare, b)
		}
	}
	if i > 0 {
		rest := copy(c.out, c.out[i:])
		clear(c.out[rest:])
		c.out = c.out[:rest]
		c.backoff = 0
		c.note(func(p *Peer) { p.Unconfirmed = rest })
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
			c.confirm()
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
	if c.err == nil {
		c.tell(body)
	}
}

// confirm sends a heartbeat without a body, whose confirmation is what counts, if one is due.
func (c *conn) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && (c.owed > 0 || c.dubious) {
		c.tell(nil)
	}
}

// repeat sends again what has waited too long for its confirmation.
func (c *conn) repeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 || !c.transport.Connected() {
		return
	}
	now := time.Now()
	wait := c.timing.Repeat << c.backoff
	if now.Sub(c.out[0].sent) < wait {
		return
	}
	bytes := 0
	for i := range min(len(c.out), repeatBurst) {
		m := &c.out[i]
		if now.Sub(m.sent) < wait {
			continue
		}
		if bytes += len(m.packet); i > 0 && bytes > repeatBytes {
			break
		}
		c.transmit(m, now)
		c.note(func(p *Peer) { p.Repeated++ })
	}
	c.backoff = min(c.backoff+1, maxBackoff)
}

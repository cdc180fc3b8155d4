package link

import (
	"encoding/json"
	"time"

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
		if c.inBytes < unreadBytes {
			c.accept(message{p.Kind, p.Body})
		}
	case p.N-c.seen <= ahead && c.waitingBytes+len(p.Body) <= aheadBytes:
		if _, again := c.waiting[p.N]; !again {
			c.waiting[p.N] = message{p.Kind, p.Body}
			c.waitingBytes += len(p.Body)
		}
	}
	if c.dubious || c.owed >= confirmEvery {
		token(c.kick)
	}
}

// learn takes the other side's state from a heartbeat. c.mu is held.
func (c *conn) learn(body []byte) {
	var h Health
	if json.Unmarshal(body, &h) == nil {
		c.note(func(p *Peer) { p.Health = h })
	}
}

// accept takes the packet that is next in order, and those that waited for it.
func (c *conn) accept(m message) {
	for ok := true; ok; {
		c.seen++
		c.owed++
		c.in = append(c.in, m)
		c.inBytes += len(m.body)
		if m, ok = c.waiting[c.seen+1]; ok {
			delete(c.waiting, c.seen+1)
			c.waitingBytes -= len(m.body)
		}
	}
	token(c.arrived)
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

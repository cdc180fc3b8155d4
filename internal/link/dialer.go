package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// DialerConfig is what a member needs to join.
type DialerConfig struct {
	Transport Transport
	// Base is the camera's subject, "sluice.cam0".
	Base   string
	Timing Timing
	// Carrier is the name of the way that pixels take, for Peer.
	Carrier string
	// Health is what heartbeats say.
	Health func() Health
}

// dialer is the one implementation of Dialer.
type dialer struct{ cfg DialerConfig }

var _ Dialer = (*dialer)(nil)

// NewDialer returns a Dialer.
func NewDialer(cfg DialerConfig) Dialer { return &dialer{cfg} }

// dialed is a connection with the subscription that feeds it.
type dialed struct {
	*conn
	undo func()
	once sync.Once
}

// Close implements Conn.
func (d *dialed) Close() error {
	d.once.Do(d.undo)
	return d.conn.Close()
}

// Dial implements Dialer: it repeats the request until it is answered.
func (d *dialer) Dial(ctx context.Context, j Join) (Conn, error) {
	var b [8]byte
	rand.Read(b[:])
	j.V, j.Conn = 1, binary.LittleEndian.Uint64(b[:])
	body, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("ask to join: %w", err)
	}
	in := make(chan frames.Packet, 1) // the answer
	var c *conn
	var early []frames.Packet // packets that overtook the answer
	var mu sync.Mutex         // guards c and early
	undo, err := d.cfg.Transport.Subscribe(downSubject(d.cfg.Base, j.Name), func(_ string, data []byte) {
		p, err := frames.DecodePacket(data)
		if err != nil || p.Conn != j.Conn {
			return
		}
		mu.Lock()
		live := c
		if live == nil && p.Kind != frames.KindWelcome && len(early) < ahead {
			early = append(early, p)
		}
		mu.Unlock()
		switch {
		case live != nil:
			live.handle(p)
		case p.Kind == frames.KindWelcome:
			select {
			case in <- p:
			default:
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("ask to join: %w", err)
	}
	request := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindJoin, Conn: j.Conn, Body: body})
	timing := d.cfg.Timing.withDefaults()
	again := time.NewTicker(timing.Repeat)
	defer again.Stop()
	for {
		_ = d.cfg.Transport.Publish(joinSubject(d.cfg.Base), request) // lost ones are repeated
		select {
		case p := <-in:
			var w Welcome
			if err := decode(p.Kind, p.Body, &w); err != nil {
				undo()
				return nil, fmt.Errorf("join: %w", err)
			}
			if w.Refused != "" {
				undo()
				return nil, fmt.Errorf("%w: %s", ErrRefused, w.Refused)
			}
			mu.Lock()
			c = newConn(j.Conn, d.cfg.Transport, upSubject(d.cfg.Base, j.Name), Peer{Carrier: d.cfg.Carrier}, timing, d.cfg.Health)
			for _, p := range early {
				c.handle(p)
			}
			mu.Unlock()
			return &dialed{conn: c, undo: undo}, nil
		case <-ctx.Done():
			undo()
			return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		case <-again.C:
		}
	}
}

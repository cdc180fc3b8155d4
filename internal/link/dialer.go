package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
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
	// Refusals takes down what is not taken; nil is nobody.
	Refusals *refusal.Book
}

// dialer is the one implementation of Dialer.
type dialer struct{ cfg DialerConfig }

var _ Dialer = (*dialer)(nil)

// NewDialer returns a Dialer.
func NewDialer(cfg DialerConfig) Dialer { return &dialer{cfg} }

// joining is a request to join under one connection's number, and what became of it.
type joining struct {
	cfg    DialerConfig
	group  string
	name   string
	id     uint64
	live   atomic.Pointer[conn] // set when the request was granted
	answer chan error           // capacity 1; the first answer counts
}

// Dial implements Dialer: it repeats the request until it is answered.
func (d *dialer) Dial(ctx context.Context, j Join) (Conn, error) {
	for {
		c, err := d.ask(ctx, j)
		if !errors.Is(err, ErrReset) { // acquire had made the connection and given it up: ask for another
			return c, err
		}
	}
}

func (d *dialer) ask(ctx context.Context, j Join) (Conn, error) {
	var b [8]byte
	rand.Read(b[:])
	j.V, j.Conn = Version, binary.LittleEndian.Uint64(b[:])
	body, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("ask to join: %w", err)
	}
	g := &joining{cfg: d.cfg, group: j.Group, name: j.Name, id: j.Conn, answer: make(chan error, 1)}
	undo, err := d.cfg.Transport.Subscribe(downSubject(d.cfg.Base, j.Group, j.Name), g.packet)
	if err != nil {
		return nil, fmt.Errorf("ask to join: %w", err)
	}
	if err := g.wait(ctx, frames.AppendPacket(nil, frames.Packet{Kind: frames.KindJoin, Conn: j.Conn, Body: body})); err != nil {
		undo()
		if c := g.live.Load(); c != nil { // granted in the last moment
			c.Close()
		}
		return nil, err
	}
	return &dialed{conn: g.live.Load(), undo: undo}, nil
}

func (g *joining) wait(ctx context.Context, request []byte) error {
	again := time.NewTicker(g.cfg.Timing.withDefaults().Repeat)
	defer again.Stop()
	for {
		_ = g.cfg.Transport.Publish(joinSubject(g.cfg.Base, g.group), request) // lost ones are repeated
		select {
		case err := <-g.answer:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		case <-again.C:
		}
	}
}

// packet takes what comes for the member: the answer, and everything behind it.
func (g *joining) packet(_ string, data []byte) {
	p, err := frames.DecodePacket(data)
	if err != nil {
		g.cfg.Refusals.Note(refusal.Packet, err, "bytes", len(data))
		return
	}
	if p.Conn != g.id {
		g.cfg.Refusals.Count(refusal.Unknown, 1)
		return
	}
	if c := g.live.Load(); c != nil {
		c.handle(p)
		return
	}
	switch p.Kind {
	case frames.KindReset:
		g.tell(ErrReset)
	case frames.KindWelcome:
		var w Welcome
		switch err := decode(p.Kind, p.Body, &w); {
		case err != nil: // the request is repeated, and answered again
			g.cfg.Refusals.Note(refusal.Message, err)
		case w.Refused != "":
			g.tell(fmt.Errorf("%w: %s", ErrRefused, refusal.Clip(w.Refused, maxReason)))
		case w.V != Version:
			g.tell(fmt.Errorf("%w: acquire speaks version %d of the link, the member version %d", ErrRefused, w.V, Version))
		default:
			c := newConn(g.id, ends{
				transport: g.cfg.Transport, subject: upSubject(g.cfg.Base, g.group, g.name), timing: g.cfg.Timing, health: g.cfg.Health,
				book: g.cfg.Refusals,
			}, Peer{Carrier: g.cfg.Carrier})
			g.live.Store(c)
			go c.keep() // Close waits for it
			g.tell(nil)
		}
	default: // what overtook the answer comes again
	}
}

func (g *joining) tell(err error) {
	select {
	case g.answer <- err:
	default:
	}
}

// dialed is a connection with the subscription that feeds it.
type dialed struct {
	*conn
	undo func()
	once sync.Once
}

// Close implements Conn. The last word of a member that leaves is that it does: acquire tells it from one that dies.
func (d *dialed) Close() error {
	if d.health != nil && d.health().Leaving {
		d.heartbeat()
	}
	d.once.Do(d.undo)
	return d.conn.Close()
}

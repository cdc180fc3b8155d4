package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// ListenerConfig is what acquire's door needs.
type ListenerConfig struct {
	Transport Transport
	// Base is the camera's subject, "sluice.cam0".
	Base   string
	Timing Timing
	// Groups that may be joined.
	Groups []string
	// Alive reports whether the process behind a join still lives, where that can be known for certain; nil
	// where it can't.
	Alive func(Join) bool
	// AlivePeriod is how often Alive is asked (250 ms).
	AlivePeriod time.Duration
	Logger      *slog.Logger
}

// listener is the one implementation of Listener.
type listener struct {
	cfg      ListenerConfig
	accepted chan *conn
	stop     context.CancelFunc
	undo     []func()
	watching sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[uint64]*conn
	closed bool
}

var _ Listener = (*listener)(nil)

// maxMembers bounds the connections of one camera: a flood of joins must not fill the memory.
const maxMembers = 256

// Listen opens acquire's door. Members that knew an earlier acquire are told to join again.
func Listen(cfg ListenerConfig) (Listener, error) {
	if cfg.AlivePeriod <= 0 {
		cfg.AlivePeriod = 250 * time.Millisecond
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{cfg: cfg, accepted: make(chan *conn, maxMembers), stop: stop, conns: map[uint64]*conn{}}
	for subject, f := range map[string]func(string, []byte){
		joinSubject(cfg.Base):    l.join,
		upSubject(cfg.Base, "*"): l.packet,
	} {
		undo, err := cfg.Transport.Subscribe(subject, f)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("listen for members: %w", err)
		}
		l.undo = append(l.undo, undo)
	}
	if cfg.Alive != nil {
		l.watching.Go(func() { l.watch(ctx) })
	}
	return l, nil
}

// Accept implements Listener.
func (l *listener) Accept(ctx context.Context) (Conn, error) {
	select {
	case c, ok := <-l.accepted:
		if !ok {
			return nil, ErrClosed
		}
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// packet takes a member's packet to its connection. A member that is not known is told so.
func (l *listener) packet(subject string, data []byte) {
	p, err := frames.DecodePacket(data)
	name := subject[strings.LastIndexByte(subject, '.')+1:]
	if err != nil || frames.ValidCamera(name) != nil {
		l.cfg.Logger.Debug("malformed packet ignored", "subject", subject, "bytes", len(data), "error", err)
		return
	}
	l.mu.Lock()
	c := l.conns[p.Conn]
	closed := l.closed
	l.mu.Unlock()
	switch {
	case c != nil && c.peer.Join.Name == name:
		c.handle(p)
	case !closed && p.Kind != frames.KindReset:
		l.answer(name, frames.KindReset, p.Conn, nil)
	}
}

func (l *listener) answer(name string, kind frames.Kind, id uint64, body []byte) {
	_ = l.cfg.Transport.Publish(downSubject(l.cfg.Base, name), frames.AppendPacket(nil, frames.Packet{Kind: kind, Conn: id, Body: body}))
}

// join answers a request to join; a repeat of a request that was granted gets the same answer.
func (l *listener) join(_ string, data []byte) {
	p, err := frames.DecodePacket(data)
	var j Join
	if err == nil && p.Kind == frames.KindJoin {
		err = decode(p.Kind, p.Body, &j)
	}
	if err == nil {
		err = frames.ValidCamera(j.Name)
	}
	if err != nil || p.Kind != frames.KindJoin || j.Conn != p.Conn {
		l.cfg.Logger.Debug("malformed join ignored", "bytes", len(data), "error", err)
		return
	}
	w := Welcome{V: 1}
	if err := l.admit(j); err != nil {
		w.Refused = err.Error()
	}
	body, _ := json.Marshal(w) // a struct of numbers and strings
	l.answer(j.Name, frames.KindWelcome, j.Conn, body)
}

func (l *listener) admit(j Join) error {
	known := false
	for _, g := range l.cfg.Groups {
		known = known || g == j.Group
	}
	if !known {
		return fmt.Errorf("there is no group %q: the groups are %s", j.Group, strings.Join(l.cfg.Groups, ", "))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if c := l.conns[j.Conn]; c != nil {
		return nil
	}
	for id, c := range l.conns {
		if c.Err() != nil {
			delete(l.conns, id)
			continue
		}
		if old := c.peer.Join; old.Name == j.Name {
			// The same process has lost its connection, or another has taken its place. Where death can be
			// known it alone decides; elsewhere the newer one wins.
			if old.Nonce != j.Nonce && l.cfg.Alive != nil && old.PID != j.PID && l.cfg.Alive(old) {
				return fmt.Errorf("the name %q is taken by process %d", j.Name, old.PID)
			}
			why := ErrPeerDead
			if old.Nonce == j.Nonce {
				why = ErrReplaced
			}
			c.fail(why)
			delete(l.conns, id)
		}
	}
	if len(l.conns) >= maxMembers {
		return fmt.Errorf("%d members have joined, there is room for no more", maxMembers)
	}
	c := newConn(j.Conn, l.cfg.Transport, downSubject(l.cfg.Base, j.Name), Peer{Join: j}, l.cfg.Timing, nil)
	select {
	case l.accepted <- c:
	default: // nobody accepts while members join again and again
		c.fail(ErrClosed)
		return errors.New("acquire is busy: join again later")
	}
	l.conns[j.Conn] = c
	return nil
}

// watch ends the connections of processes that have died.
func (l *listener) watch(ctx context.Context) {
	tick := time.NewTicker(l.cfg.AlivePeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		live := make([]*conn, 0, len(l.conns))
		for _, c := range l.conns {
			live = append(live, c)
		}
		l.mu.Unlock()
		for _, c := range live {
			if c.Err() == nil && !l.cfg.Alive(c.peer.Join) {
				c.fail(ErrPeerDead)
			}
		}
	}
}

// Close implements Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	conns := l.conns
	l.conns = map[uint64]*conn{}
	l.mu.Unlock()
	l.stop()
	for _, undo := range l.undo {
		undo()
	}
	l.watching.Wait()
	for _, c := range conns {
		c.Close()
	}
	close(l.accepted)
	return nil
}

package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
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
	// Lost is how long a member that takes pixels by JetStream, and of which Alive knows nothing, may be silent before
	// it counts as dead; 0 lets none in.
	Lost time.Duration
	// AlivePeriod is how often Alive is asked (250 ms).
	AlivePeriod time.Duration
	// Refusals takes down what is not taken; nil is nobody.
	Refusals *refusal.Book
	Logger   *slog.Logger
}

// listener is the one implementation of Listener.
type listener struct {
	cfg      ListenerConfig
	accepted chan *conn
	stop     context.CancelFunc
	undo     []func()
	working  sync.WaitGroup // watch, and keep of every connection
	room     *room          // for what all connections keep
	ended    chan struct{}  // closed when Close has done its work

	mu     sync.Mutex // guards what follows
	conns  map[uint64]*conn
	asked  map[string]time.Time // when processes whose name is in use asked for it first, by nonce
	past   map[uint64]bool      // numbers of connections that are over: a late repeat of their request is no new one
	order  []uint64             // of past, as a ring
	closed bool
	up     time.Time // since when this end could hear its members
}

var _ Listener = (*listener)(nil)

const (
	// Version is the link's: what Join and Welcome say.
	Version = 2
	// maxMembers bounds the connections of one camera: a flood of joins must not fill the memory.
	maxMembers = 256
	// pastConns bounds the numbers of past connections that are remembered.
	pastConns = 1024
	// sharedBytes bounds the packets that all connections together keep beyond what is each one's own.
	sharedBytes = 16 << 20
)

// Listen opens acquire's door. Members that knew an earlier acquire are told to join again.
func Listen(cfg ListenerConfig) (Listener, error) {
	if cfg.AlivePeriod <= 0 {
		cfg.AlivePeriod = 250 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{
		cfg: cfg, accepted: make(chan *conn, maxMembers), stop: stop, ended: make(chan struct{}),
		conns: map[uint64]*conn{}, past: map[uint64]bool{}, asked: map[string]time.Time{}, room: newRoom(sharedBytes), up: time.Now(),
	}
	for _, s := range []struct {
		subject string
		f       func(string, []byte)
	}{{upSubject(cfg.Base, "*", "*"), l.packet}, {joinSubject(cfg.Base, "*"), l.join}} {
		undo, err := cfg.Transport.Subscribe(s.subject, s.f)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("listen for members: %w", err)
		}
		l.undo = append(l.undo, undo)
	}
	if cfg.Alive != nil || cfg.Lost > 0 {
		l.working.Go(func() { l.watch(ctx) })
	}
	return l, nil
}

// Accept implements Listener. Members that have gone again before they were accepted are passed over.
func (l *listener) Accept(ctx context.Context) (Conn, error) {
	for {
		select {
		case c, ok := <-l.accepted:
			if !ok {
				return nil, ErrClosed
			}
			if c.Err() == nil {
				return c, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// packet takes a member's packet to its connection. A member that is not known is told so.
func (l *listener) packet(subject string, data []byte) {
	p, err := frames.DecodePacket(data)
	rest, name := lastToken(subject)
	_, group := lastToken(rest)
	if err == nil {
		err = errors.Join(frames.ValidCamera(group), frames.ValidCamera(name))
	}
	if err != nil {
		l.cfg.Refusals.Note(refusal.Packet, err, "bytes", len(data))
		return
	}
	l.mu.Lock()
	c := l.conns[p.Conn]
	if c != nil && c.Err() != nil {
		l.forget(c)
		c = nil
	}
	closed := l.closed
	l.mu.Unlock()
	switch {
	case c != nil && c.join.Name == name && c.join.Group == group:
		c.handle(p)
	case !closed && p.Kind != frames.KindReset:
		l.cfg.Refusals.Count(refusal.Unknown, 1)
		l.answer(group, name, frames.KindReset, p.Conn, nil)
	}
}

// forget takes a connection that is over off the books. l.mu is held.
func (l *listener) forget(c *conn) {
	delete(l.conns, c.id)
	if len(l.order) == pastConns {
		delete(l.past, l.order[0])
		l.order = l.order[:copy(l.order, l.order[1:])]
	}
	l.order = append(l.order, c.id)
	l.past[c.id] = true
}

func (l *listener) answer(group, name string, kind frames.Kind, id uint64, body []byte) {
	_ = l.cfg.Transport.Publish(downSubject(l.cfg.Base, group, name), frames.AppendPacket(nil, frames.Packet{Kind: kind, Conn: id, Body: body}))
}

// join answers a request to join; a repeat of a request that was granted gets the same answer.
func (l *listener) join(subject string, data []byte) {
	p, err := frames.DecodePacket(data)
	var j Join
	if err == nil && p.Kind == frames.KindJoin {
		err = decode(p.Kind, p.Body, &j)
	}
	if err == nil && (p.Kind != frames.KindJoin || j.Conn != p.Conn) {
		err = fmt.Errorf("%w: a packet of kind %d for connection %d asks to join under %d", ErrProtocol, p.Kind, p.Conn, j.Conn)
	}
	if err == nil {
		err = j.valid()
	}
	if _, group := lastToken(subject); err == nil && j.Group != group {
		err = fmt.Errorf("%w: %s asks to join the group %q where %q is asked for", ErrProtocol, j.Name, j.Group, refusal.Clip(group, maxWord))
	}
	if err != nil {
		l.cfg.Refusals.Note(refusal.Join, err, "bytes", len(data))
		return
	}
	c, fresh, err := l.admit(j)
	switch {
	case errors.Is(err, ErrReset):
		l.answer(j.Group, j.Name, frames.KindReset, j.Conn, nil)
	case errors.Is(err, ErrClosed), errors.Is(err, errBusy): // the request is repeated
	default:
		w := Welcome{V: Version}
		if err != nil {
			l.cfg.Refusals.Note(refusal.Join, err, "name", j.Name, "group", j.Group, "pid", j.PID)
			w.Refused = err.Error()
		}
		body, _ := json.Marshal(w) // a struct of numbers and strings
		l.answer(j.Group, j.Name, frames.KindWelcome, j.Conn, body)
	}
	if fresh { // behind the answer: what acquire says to the member must not overtake it
		l.accepted <- c
	}
}

// admit finds or makes the connection that a request asks for. The error is the text of a refusal, or wraps
// ErrReset for a connection that is over, ErrClosed, or errBusy. A fresh connection has room in l.accepted.
func (l *listener) admit(j Join) (c *conn, fresh bool, err error) {
	if j.V != Version {
		return nil, false, fmt.Errorf("the member speaks version %d of the link, acquire version %d", j.V, Version)
	}
	if !slices.Contains(l.cfg.Groups, j.Group) {
		return nil, false, fmt.Errorf("there is no group %q: the groups are %s", j.Group, strings.Join(l.cfg.Groups, ", "))
	}
	alive := l.cfg.Alive == nil || l.cfg.Alive(j)
	away := l.cfg.Lost > 0 && (l.cfg.Alive == nil || !alive) && slices.Contains(j.Carriers, JetStream)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false, ErrClosed
	}
	for _, c := range l.conns {
		if c.Err() != nil {
			l.forget(c)
		}
	}
	if c := l.conns[j.Conn]; c != nil {
		if c.join.Name != j.Name || c.join.Group != j.Group {
			return nil, false, ErrReset
		}
		return c, false, nil
	}
	if l.past[j.Conn] {
		return nil, false, ErrReset
	}
	if len(l.accepted) == cap(l.accepted) { // nobody accepts while members join again and again
		return nil, false, errBusy
	}
	if err := l.free(j, alive || away); err != nil {
		return nil, false, err
	}
	l.replace(j)
	if len(l.conns) >= maxMembers {
		return nil, false, fmt.Errorf("%d members have joined, there is room for no more", maxMembers)
	}
	c = newConn(j.Conn, ends{
		transport: l.cfg.Transport, subject: downSubject(l.cfg.Base, j.Group, j.Name), timing: l.cfg.Timing, room: l.room, book: l.cfg.Refusals,
	}, Peer{Join: j})
	c.away = away
	l.conns[j.Conn] = c
	l.working.Go(c.keep)
	return c, true, nil
}

// free refuses a request under a name that another living process has, and, where death can be known, one of a process
// that does not live: a stranger's, who could take frames until that is seen. l.mu is held.
func (l *listener) free(j Join, alive bool) error {
	for _, c := range l.conns {
		old := c.join
		if old.Name != j.Name || old.Nonce == j.Nonce {
			continue
		}
		taken := fmt.Errorf("the name %q is taken by process %d", j.Name, old.PID)
		if c.away {
			if err := l.vacant(c, j, taken); err != nil {
				return err
			}
			continue
		}
		if (old.PID != j.PID || old.Group != j.Group) && l.cfg.Alive != nil && l.cfg.Alive(old) {
			return taken
		}
	}
	if !alive {
		return fmt.Errorf("process %d does not hold the lock of the name %q on acquire's host", j.PID, j.Name)
	}
	return nil
}

// replace ends the connection of the member whose name a request bears: the same process has lost it, or another
// has taken its place. l.mu is held.
func (l *listener) replace(j Join) {
	for _, c := range l.conns {
		if c.join.Name != j.Name {
			continue
		}
		why := ErrReplaced
		if c.join.Nonce != j.Nonce {
			why = ErrPeerDead
		}
		c.fail(why)
		l.forget(c)
	}
}

// Close implements Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.ended
		return nil
	}
	l.closed = true
	conns := l.conns
	l.conns = map[uint64]*conn{}
	l.mu.Unlock()
	l.stop()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
	for _, undo := range l.undo { // nobody joins after these
		undo()
	}
	l.working.Wait()
	close(l.accepted)
	close(l.ended)
	return nil
}

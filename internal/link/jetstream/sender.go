package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// listener is acquire's door, with a sender in front of each member that may need one.
type listener struct {
	link.Listener
	feeder *Feeder
}

// Listen puts the carrier in front of acquire's door. Members that map the slab notice nothing.
func Listen(l link.Listener, f *Feeder) link.Listener { return &listener{l, f} }

// Accept implements link.Listener.
func (l *listener) Accept(ctx context.Context) (link.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	j := c.Peer().Join
	if !slices.Contains(j.Carriers, link.JetStream) {
		return c, nil
	}
	return &sender{Conn: c, feeder: l.feeder, name: j.Name}, nil
}

// sender is a connection whose offers wait for their pixels, once the member has said that it needs them brought.
type sender struct {
	link.Conn
	feeder *Feeder
	name   string

	mu     sync.Mutex // guards what follows
	armed  link.Armed // the newest run that the member was told of
	route  *route     // nil while the member maps the slab, or has not agreed to a run
	closed bool
}

var _ link.Conn = (*sender)(nil)

// Send implements link.Conn.
func (s *sender) Send(kind frames.Kind, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case frames.KindArmed:
		var a link.Armed
		if err := json.Unmarshal(body, &a); err != nil {
			return fmt.Errorf("%w: %w", link.ErrProtocol, err)
		}
		if s.armed.Spec.Run != a.Spec.Run {
			s.leave()
		}
		s.armed = a
	case frames.KindClosed:
		s.leave()
		s.armed = link.Armed{}
	case frames.KindFrames:
		if s.route != nil {
			if offers, err := frames.DecodeOffers(nil, body); err == nil { // else the member says what is wrong with them
				s.route.offer(offers)
				return s.Err()
			}
		}
	case frames.KindEnd: // the member is done when it has released what came before
		if s.route != nil {
			s.route.message(kind, body)
			return s.Err()
		}
	}
	return s.Conn.Send(kind, body)
}

// leave ends the route of a run. s.mu is held.
func (s *sender) leave() {
	if s.route != nil {
		s.route.close()
		s.route = nil
	}
}

// Receive implements link.Conn. What concerns pixels alone it keeps to itself.
func (s *sender) Receive(ctx context.Context) (frames.Kind, []byte, error) {
	for {
		kind, body, err := s.Conn.Receive(ctx)
		if err != nil {
			return kind, body, err
		}
		switch kind {
		case frames.KindReady:
			body = s.ready(ctx, body)
		case frames.KindReleases:
			if r := s.current(); r != nil {
				rels, _ := frames.DecodeReleases(nil, body) // what is wrong with them is the reader's to say
				r.released(rels)
			}
		case frames.KindMissing:
			if r := s.current(); r != nil {
				offers, _ := frames.DecodeOffers(nil, body)
				r.missing(offers)
			}
			continue
		}
		return kind, body, nil
	}
}

func (s *sender) current() *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.route
}

// ready opens the route that a member asks for with its answer to Armed. Where that can't be done the answer becomes a
// refusal. While the broker says nothing, as a cluster that elects a leader, it is asked again: the run may be one that goes on,
// with frames that nobody else could have. How long a new run waits for its members is not decided here.
func (s *sender) ready(ctx context.Context, body []byte) []byte {
	var ready link.Ready
	if json.Unmarshal(body, &ready) != nil || ready.Carrier != link.JetStream || ready.Error != "" {
		return body
	}
	s.mu.Lock()
	a, has := s.armed, s.route != nil
	s.mu.Unlock()
	if ready.Run != a.Spec.Run || has {
		return body
	}
	r, err := s.open(ctx, a, ready.Window)
	for temporary(err) && s.wanted(ctx, ready.Run) {
		s.feeder.complain(s.name, err)
		r, err = s.open(ctx, a, ready.Window)
	}
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed && s.armed.Spec.Run == ready.Run {
			s.route = r
			return body
		}
		r.close()
		return body
	}
	text, _ := json.Marshal(link.Ready{Run: ready.Run, Usage: true, Error: fmt.Sprintf("%s can't map the slab, and has no other way: %s", s.name, err)})
	return text
}

// wanted reports, after a moment, whether a route for the run is still to be made.
func (s *sender) wanted(ctx context.Context, run frames.RunID) bool {
	select {
	case <-time.After(firstPause):
	case <-ctx.Done():
		return false
	case <-s.Done():
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.armed.Spec.Run == run
}

// open makes a route for a run.
func (s *sender) open(ctx context.Context, a link.Armed, window int) (*route, error) {
	if window < 1 {
		return nil, fmt.Errorf("%w: memory for %d frames", link.ErrProtocol, window)
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	_, nc, err := s.feeder.open(ctx)
	if err != nil {
		return nil, err
	}
	c, err := newCut(a.Spec.Geometry.FrameBytes(), nc.MaxPayload())
	if err != nil {
		return nil, err
	}
	cost := c.cost(s.feeder.names.stored(s.name))
	if a.Policy == link.Lossless {
		if cost > s.feeder.cfg.MaxBytes {
			return nil, fmt.Errorf("%w: it holds %d bytes, a frame takes %d", ErrTooSmall, s.feeder.cfg.MaxBytes, cost)
		}
		if _, err := s.feeder.serve(ctx, s.name); err != nil {
			return nil, err
		}
	}
	view, err := slab.Open(s.feeder.cfg.Dir, a.Slab, a.Spec.Run)
	if err != nil {
		return nil, err
	}
	return newRoute(s, a, view, c, cost, window), nil
}

// Close implements link.Conn.
func (s *sender) Close() error {
	err := s.Conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.leave()
	return err
}

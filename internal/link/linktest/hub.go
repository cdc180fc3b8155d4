package linktest

import (
	"slices"
	"strings"
	"sync"

	"github.com/sluicedaq/sluice/internal/link"
)

// Hub is a transport inside one process: what a broker is to real ones. It loses nothing by itself.
type Hub struct {
	mu   sync.Mutex // guards subs
	subs []*subscription
}

var _ link.Transport = (*Hub)(nil)

// NewHub returns a hub without subscriptions.
func NewHub() *Hub { return &Hub{} }

type datagram struct {
	subject string
	data    []byte
}

// subscription delivers what comes in its own goroutine.
type subscription struct {
	pattern string
	queue   chan datagram
	stop    chan struct{}
	ended   chan struct{}
}

// pending bounds the datagrams that wait in a subscription. More are lost, as a broker loses those of a slow reader.
const pending = 1 << 16

func (s *subscription) run(f func(string, []byte)) {
	defer close(s.ended)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		select {
		case <-s.stop:
			return
		case d := <-s.queue:
			f(d.subject, d.data)
		}
	}
}

func (s *subscription) matches(subject string) bool {
	return slices.EqualFunc(strings.Split(s.pattern, "."), strings.Split(subject, "."), func(pattern, token string) bool {
		return pattern == "*" && token != "" || pattern == token
	})
}

// Publish implements link.Transport.
func (h *Hub) Publish(subject string, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		if s.matches(subject) {
			select {
			case s.queue <- datagram{subject, slices.Clone(data)}:
			default:
			}
		}
	}
	return nil
}

// Subscribe implements link.Transport.
func (h *Hub) Subscribe(subject string, f func(string, []byte)) (func(), error) {
	s := &subscription{pattern: subject, queue: make(chan datagram, pending), stop: make(chan struct{}), ended: make(chan struct{})}
	h.mu.Lock()
	h.subs = append(h.subs, s)
	h.mu.Unlock()
	go s.run(f)
	return sync.OnceFunc(func() {
		h.mu.Lock()
		h.subs = slices.DeleteFunc(h.subs, func(o *subscription) bool { return o == s })
		h.mu.Unlock()
		close(s.stop)
		<-s.ended
	}), nil
}

// Connected implements link.Transport.
func (h *Hub) Connected() bool { return true }

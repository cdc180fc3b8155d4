package metrics

import (
	"net"
	"sync"
)

// maxConns bounds the connections at a time. Beyond it the newcomer is hung up on at once: one that waited for room would
// have others wait behind it.
const maxConns = 32

// crowd is a listener with a bound on its connections.
type crowd struct {
	net.Listener
	room chan struct{}
}

func newCrowd(l net.Listener) *crowd { return &crowd{l, make(chan struct{}, maxConns)} }

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case c.room <- struct{}{}:
			return &counted{Conn: conn, leave: func() { <-c.room }}, nil
		default:
			conn.Close()
		}
	}
}

// counted is a connection that gives its place back once.
type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

// Package bustest gives tests a real NATS server in their own process.
package bustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
)

// startTime is how long a server may take to come up.
const startTime = 10 * time.Second

// Server is a NATS server on loopback that can be stopped and started again on the same port.
type Server struct {
	t    testing.TB
	opts server.Options
	srv  *server.Server
}

// Start starts a server on a free port. It is stopped when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: 1 << 20,
	}}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Up starts the server again after Down.
func (s *Server) Up() {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatalf("making a NATS server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(startTime) {
		s.t.Fatalf("the NATS server is not ready after %s", startTime)
	}
	s.opts.Port = opts.Port
	s.srv = srv
}

// Down stops the server and waits until it is gone. It may be called twice.
func (s *Server) Down() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// URL is the server's address.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Connect connects to the server as Sluice's processes do. The connection is closed when the test ends, and
// the test waits until it is.
func (s *Server) Connect(process string) *nats.Conn {
	s.t.Helper()
	nc, err := bus.Connect(s.t.Context(), bus.Options{
		NATS: config.NATS{NATS: s.URL(), ConnectTimeout: startTime}, Process: process,
	})
	if err != nil {
		s.t.Fatalf("connecting: %v", err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	s.t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

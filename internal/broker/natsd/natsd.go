// Package natsd is the NATS server of a local `sluice run`: a process of its own on loopback, with a random
// password that only a file of the user's has.
package natsd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
)

// The server's limits. Link packets are batches of descriptors and a preview is one image, both far below
// maxPayload; maxPending is what a stopped client may leave in the server's memory before it is cut off.
const (
	maxPayload = 4 << 20
	maxPending = 64 << 20
	user       = "sluice"
)

// The server's times.
const (
	readyTime = 10 * time.Second       // to come up
	portTime  = 5 * time.Second        // for a restarted server to get its port back
	portRetry = 50 * time.Millisecond  // between attempts at that
	lookEvery = 100 * time.Millisecond // at the clients while lingering
)

// Config says what to serve.
type Config struct {
	Place   broker.Place
	Camera  string
	Session string // of the run: a server of the same session that died hands on its port and password
	// Gone is closed when the supervisor has ended: the server then stays until its clients have left.
	Gone   <-chan struct{}
	Linger time.Duration // the longest that it stays
	Log    *slog.Logger
}

// Run serves until ctx ends, or until the supervisor and then the clients are gone. While it serves, the
// place is claimed and says how to reach the server; a place that is taken gives an error wrapping
// broker.ErrHeld.
func Run(ctx context.Context, c Config) (err error) {
	lock, err := c.Place.Claim()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	e := bus.Endpoint{
		V: 1, User: user, Password: rand.Text(), Camera: c.Camera, PID: os.Getpid(), Session: c.Session, Started: time.Now().UTC(),
	}
	port := server.RANDOM_PORT
	if old, err := bus.ReadEndpoint(c.Place.File()); err == nil && old.Session == c.Session {
		if p, ok := portOf(old.URL); ok {
			port, e.Password = p, old.Password
		}
	}
	srv, err := start(ctx, port, e.Password, c.Log)
	if err != nil {
		return err
	}
	// The file goes first, so that nobody finds a server that is going; the lock goes last.
	defer func() {
		err = errors.Join(err, c.Place.Remove())
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	e.URL = srv.ClientURL()
	if err := c.Place.Write(e); err != nil {
		return err
	}
	c.Log.Info("the broker is ready", "url", e.URL)
	select {
	case <-ctx.Done():
	case <-c.Gone:
		c.Log.Warn("the supervisor is gone, the broker stays for its clients")
		linger(ctx, srv, c.Linger)
	}
	return nil
}

// start starts a server, trying again for a while where a port is asked for that something still holds.
func start(ctx context.Context, port int, password string, log *slog.Logger) (*server.Server, error) {
	deadline := time.Now().Add(portTime)
	for port != server.RANDOM_PORT {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			if err := l.Close(); err != nil {
				return nil, fmt.Errorf("looking at port %d: %w", port, err)
			}
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("getting the broker's port back: %w", err)
		}
		timer := time.NewTimer(portRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "sluice", Host: "127.0.0.1", Port: port, Username: user, Password: password,
		NoSigs: true, MaxPayload: maxPayload, MaxPending: maxPending, DisableShortFirstPing: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making the NATS server: %w", err)
	}
	l := &logger{log: log}
	srv.SetLoggerV2(l, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(readyTime) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("the NATS server is not ready after %s", readyTime)
	}
	l.ready.Store(true)
	return srv, nil
}

// linger waits until the server has no clients, ctx ends or the time is over.
func linger(ctx context.Context, srv *server.Server, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for srv.NumClients() > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// portOf is the port in a server's URL.
func portOf(s string) (int, bool) {
	u, err := url.Parse(s)
	if err != nil {
		return 0, false
	}
	port, err := strconv.Atoi(u.Port())
	return port, err == nil && port > 0 && port < 1<<16
}

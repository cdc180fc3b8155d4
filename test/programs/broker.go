package programs

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Broker starts a NATS server on a free port of loopback and returns its URL. It ends with the test.
func Broker(t *testing.T) string {
	t.Helper()
	return BrokerOf(t, server.Options{})
}

// BrokerOf is Broker with options beside the address.
func BrokerOf(t *testing.T, opts server.Options) string {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

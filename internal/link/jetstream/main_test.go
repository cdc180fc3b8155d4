package jetstream

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The broker's own clock, which outlasts its last stream by a moment.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

const (
	startTime = 30 * time.Second
	// testTime bounds what a test waits for: a tenth of it is enough on an idle machine.
	testTime = 4 * time.Minute
)

// brokers are real ones with JetStream in this process, one or a cluster, on ports that they keep when they are restarted.
type brokers struct {
	t    testing.TB
	opts []server.Options

	mu      sync.Mutex // guards servers
	servers []*server.Server
}

// freePorts are ports that nobody has.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	var open []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range open { // together: none of them is given out twice
		l.Close()
	}
	return ports
}

func newBrokers(t testing.TB, n int, change func(*server.Options)) *brokers {
	t.Helper()
	b := &brokers{t: t, servers: make([]*server.Server, n)}
	ports := freePorts(t, 2*n)
	var routes []*url.URL
	for _, port := range ports[n:] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	for i := range n {
		o := server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: ports[i], NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 2 << 30, JetStreamMaxStore: 4 << 30,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = routes
		}
		if change != nil {
			change(&o)
		}
		b.opts = append(b.opts, o)
	}
	for i := range n {
		b.start(i)
	}
	t.Cleanup(func() {
		for i := range n {
			b.stop(i)
		}
	})
	for i := range n {
		b.ready(i)
	}
	return b
}

func (b *brokers) start(i int) {
	opts := b.opts[i]
	s, err := server.NewServer(&opts)
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	b.mu.Lock()
	b.servers[i] = s
	b.mu.Unlock()
}

func (b *brokers) ready(i int) {
	b.mu.Lock()
	s := b.servers[i]
	b.mu.Unlock()
	if !s.ReadyForConnections(startTime) {
		b.t.Fatal("the broker does not start")
	}
	if len(b.opts) > 1 {
		until(b.t, "the cluster has a leader", func() bool { return s.JetStreamIsCurrent() })
	}
}

func (b *brokers) stop(i int) {
	b.mu.Lock()
	s := b.servers[i]
	b.mu.Unlock()
	s.Shutdown()
	s.WaitForShutdown()
}

func (b *brokers) restart(i int) {
	b.stop(i)
	b.start(i)
	b.ready(i)
}

func (b *brokers) url() string {
	var urls []string
	for _, o := range b.opts {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(urls, ",")
}

// dial connects as Sluice's processes do.
func (b *brokers) dial(context.Context) (*nats.Conn, error) { return b.open() }

func (b *brokers) open(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(b.url(), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.ReconnectBufSize(-1), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))...)
}

// connect is dial for the time of a test, to the first server while it is there: the one that tests restart.
func (b *brokers) connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := b.open(nats.DontRandomize())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// stream is what the broker says of a camera's stream.
func (b *brokers) stream(t testing.TB, base string) jetstream.StreamState {
	t.Helper()
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), names{base}.stream())
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// whole waits until the leader of a cluster has heard of all servers, and a camera's stream is up to date on each.
func (b *brokers) whole(t testing.TB, base string) {
	t.Helper()
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the cluster is whole", func() bool {
		if !slices.ContainsFunc(b.servers, func(s *server.Server) bool { return len(s.JetStreamClusterPeers()) == len(b.servers) }) {
			return false // those who follow know of none
		}
		s, err := js.Stream(t.Context(), names{base}.stream())
		if err != nil {
			return false
		}
		c := s.CachedInfo().Cluster
		current := 0
		for _, p := range c.Replicas {
			if p.Current && !p.Offline {
				current++
			}
		}
		return c.Leader != "" && current == len(b.servers)-1
	})
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * startTime)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

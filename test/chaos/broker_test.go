package chaos_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/test/programs"
)

// brokerVar has what the server is to be that this test's program is to be.
const brokerVar = "SLUICE_CHAOS_BROKER"

// node is one server of a broker.
type node struct {
	Name, Address string
	// Store is the folder of its JetStream, empty for none.
	Store string
	// Route is where the other servers reach it, Routes are those of all; empty where it is the only one.
	Route  string
	Routes []string
}

// options are the server's.
func (n node) options() (*server.Options, error) {
	o := &server.Options{NoLog: true, NoSigs: true, ServerName: n.Name}
	var err error
	if o.Host, o.Port, err = split(n.Address); err != nil {
		return nil, err
	}
	if n.Store != "" {
		o.JetStream, o.StoreDir, o.JetStreamMaxMemory, o.JetStreamMaxStore = true, n.Store, 1<<30, 4<<30
	}
	if n.Route != "" {
		o.Cluster.Name = "chaos"
		o.Cluster.Host, o.Cluster.Port, err = split(n.Route)
		for _, r := range n.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
		}
	}
	return o, err
}

func split(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	port, e := strconv.Atoi(text)
	return host, port, errors.Join(err, e)
}

// serveBroker is a NATS server, a process of its own that can be killed and stopped. It ends with its standard input,
// and so with the test.
func serveBroker(text string) int {
	var n node
	err := json.Unmarshal([]byte(text), &n)
	opts, e := n.options()
	if err = errors.Join(err, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}

// outside is a broker that does not belong to the run: one server, or three. Somebody else starts it again. What befalls a
// broker of three befalls one of them, in turn.
type outside struct {
	nodes []node

	mu    sync.Mutex // guards what follows
	procs []*serving // of each node, nil while it is down
	turn  int        // the node that the next fault is for
}

// serving is a server's process.
type serving struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// newOutside starts a broker that lives until the test ends.
func newOutside(t *testing.T, servers int, jetStream bool) *outside {
	t.Helper()
	b := &outside{nodes: make([]node, servers), procs: make([]*serving, servers)}
	addresses := freeAddresses(t, 2*servers)
	for i := range b.nodes {
		n := node{Name: fmt.Sprintf("s%d", i), Address: addresses[i]}
		if jetStream {
			n.Store = filepath.Join(t.TempDir(), n.Name)
		}
		if servers > 1 {
			n.Route, n.Routes = addresses[servers+i], addresses[servers:]
		}
		b.nodes[i] = n
	}
	t.Cleanup(b.end)
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(patience)
	for _, n := range b.nodes {
		for {
			c, err := net.DialTimeout("tcp", n.Address, time.Second)
			if err == nil {
				_ = c.Close()
				break
			}
			if time.Now().After(limit) {
				t.Fatal(err)
			}
		}
	}
	if jetStream {
		b.elected(t)
	}
	return b
}

// elected waits until JetStream can be used: three servers elect a leader first.
func (b *outside) elected(t *testing.T) {
	t.Helper()
	nc, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, patience, "the broker has JetStream", func() bool {
		_, err := js.AccountInfo(t.Context())
		return err == nil
	})
}

// freeAddresses are addresses that nobody has.
func freeAddresses(t *testing.T, n int) (list []string) {
	t.Helper()
	var open []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, l)
		list = append(list, l.Addr().String())
	}
	for _, l := range open { // together: none of them is given out twice
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func (b *outside) url() string {
	var urls []string
	for _, n := range b.nodes {
		urls = append(urls, "nats://"+n.Address)
	}
	return strings.Join(urls, ",")
}

// start starts each server that is down, at the address that it had. The next fault is for another.
func (b *outside) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range b.procs {
		if p != nil {
			continue
		}
		text, err := json.Marshal(b.nodes[i])
		if err != nil {
			return err
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), brokerVar+"="+string(text))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		b.procs[i] = &serving{cmd, stdin}
	}
	b.turn = (b.turn + 1) % len(b.nodes)
	return nil
}

// kill kills the server whose turn it is. It stays down until start.
func (b *outside) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killOne(b.turn)
}

// killOne kills a server that is up. b.mu is held.
func (b *outside) killOne(i int) {
	if b.procs[i] == nil {
		return
	}
	_ = b.procs[i].cmd.Process.Signal(syscall.SIGKILL)
	_ = b.procs[i].cmd.Wait() // killed
	_ = b.procs[i].stdin.Close()
	b.procs[i] = nil
}

// end kills all servers.
func (b *outside) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.procs {
		b.killOne(i)
	}
}

// pid is the process of the server whose turn it is, 0 while that is down.
func (b *outside) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.procs[b.turn]; p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

package chaos_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// brokerVar has the address of the broker that this test's program is to be.
const brokerVar = "SLUICE_CHAOS_BROKER"

// serveBroker is a NATS server, a process of its own that can be killed and stopped. It ends with its standard input,
// and so with the test.
func serveBroker(address string) int {
	host, text, err := net.SplitHostPort(address)
	port, e := strconv.Atoi(text)
	if err = errors.Join(err, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := server.NewServer(&server.Options{Host: host, Port: port, NoLog: true, NoSigs: true})
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

// outside is a broker that does not belong to the run. Somebody else starts it again.
type outside struct {
	address string

	mu    sync.Mutex // guards cmd
	cmd   *exec.Cmd  // nil while it is down
	stdin io.Closer
}

// newOutside starts a broker that lives until the test ends.
func newOutside(t *testing.T) *outside {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &outside{address: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	limit := time.Now().Add(patience)
	for {
		c, err := net.DialTimeout("tcp", b.address, time.Second)
		if err == nil {
			_ = c.Close()
			return b
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func (b *outside) url() string { return "nats://" + b.address }

// start starts the server, at the address that it had.
func (b *outside) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd != nil {
		return nil
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerVar+"="+b.address)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.cmd, b.stdin = cmd, stdin
	return nil
}

// kill kills the server. It stays down until start.
func (b *outside) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Signal(syscall.SIGKILL)
	_ = b.cmd.Wait() // killed
	_ = b.stdin.Close()
	b.cmd = nil
}

// pid is the server's process, 0 while it is down.
func (b *outside) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return 0
	}
	return b.cmd.Process.Pid
}

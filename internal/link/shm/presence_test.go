package shm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
)

// memberEnv names the folder in which a child process announces the member w0.
const memberEnv = "SLUICE_TEST_MEMBER"

// live is the child: a member that lives until it is killed.
func live(dir string) {
	_, err := Announce(context.Background(), dir, "cam0", "w0")
	fmt.Fprintln(os.Stdout, err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
	os.Exit(1)
}

func startMember(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), memberEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "<nil>\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	return cmd
}

// A process that is killed is dead at once, and one that takes its place does not pass for it.
func TestAlive(t *testing.T) {
	dir := t.TempDir()
	alive := Alive(dir, "cam0")
	if alive(link.Join{Name: "w0", PID: 1}) {
		t.Error("who never announced itself is alive")
	}
	first := startMember(t, dir)
	join := link.Join{Name: "w0", PID: first.Process.Pid}
	if !alive(join) {
		t.Error("a living process is not alive")
	}
	if alive(link.Join{Name: "w1", PID: first.Process.Pid}) {
		t.Error("a name that nobody announced is alive")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Announce(ctx, dir, "cam0", "w0"); !errors.Is(err, slab.ErrInUse) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a name that is taken: %v, want ErrInUse", err)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	if alive(join) {
		t.Error("a killed process is alive")
	}
	second := startMember(t, dir)
	if alive(join) {
		t.Error("the process that took its place passes for it")
	}
	if !alive(link.Join{Name: "w0", PID: second.Process.Pid}) {
		t.Error("the process that took its place is not alive")
	}
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait() // it was killed
}

// TestNameHasOneHolder: of many who take a name and give it up again, one has it at a time, and no file is left.
func TestNameHasOneHolder(t *testing.T) {
	dir := t.TempDir()
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				p, err := Announce(t.Context(), dir, "cam0", "w0")
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				if !Alive(dir, "cam0")(link.Join{Name: "w0", PID: os.Getpid()}) {
					t.Error("the holder is not alive")
				}
				holders.Add(-1)
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := os.Lstat(presencePath(dir, "cam0", "w0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestAnnounceRefuses(t *testing.T) {
	for _, name := range []string{"", "../w", "W", "a.b"} {
		if _, err := Announce(t.Context(), t.TempDir(), "cam0", name); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

// Who asks is in nobody's way.
func TestAliveTakesNothing(t *testing.T) {
	dir := t.TempDir()
	alive := Alive(dir, "cam0")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				alive(link.Join{Name: "w0", PID: os.Getpid()})
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // one try only
	for range 500 {
		p, err := Announce(ctx, dir, "cam0", "w0")
		if err != nil {
			t.Error(err)
			break
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

package programs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// endTime bounds how long a program may take that a test waits for.
const endTime = 2 * time.Minute

// Running is a program that was started.
type Running struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
	err            error // Wait's, valid once done is closed
}

// output is what a program has written so far.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start starts a program. It is ended when the test ends before it does.
func (p *Programs) Start(t *testing.T, name string, args ...string) *Running {
	t.Helper()
	return p.StartWith(t, nil, name, args...)
}

// StartWith starts a program with variables added to its environment, in a process group of its own, as a shell makes
// one for what it runs in the foreground.
func (p *Programs) StartWith(t *testing.T, env []string, name string, args ...string) *Running {
	t.Helper()
	cmd := p.Command(t.Context(), name, args...)
	cmd.Env = append(cmd.Env, env...)
	return start(t, cmd)
}

// StartUnder starts a program by another command, as CommandUnder does.
func (p *Programs) StartUnder(t *testing.T, under []string, name string, args ...string) *Running {
	t.Helper()
	cmd, err := p.CommandUnder(t.Context(), under, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, cmd)
}

func start(t *testing.T, cmd *exec.Cmd) *Running {
	t.Helper()
	r := &Running{cmd: cmd, done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("%q: %v", cmd.Args, err)
	}
	go func() {
		defer close(r.done)
		r.err = r.cmd.Wait()
	}()
	t.Cleanup(func() { <-r.done }) // the test's context has ended, and with it the program
	return r
}

// PID is the program's process id.
func (r *Running) PID() int { return r.cmd.Process.Pid }

// Said is what it has written to stderr so far.
func (r *Running) Said() string { return r.stderr.String() }

// Done is closed when the program has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Signal sends a signal to the program.
func (r *Running) Signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// SignalGroup sends a signal to the program's process group, as a terminal does at Ctrl-C.
func (r *Running) SignalGroup(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-r.PID(), s); err != nil {
		t.Fatal(err)
	}
}

// Wait waits for the program's end, which must come in time.
func (r *Running) Wait(t *testing.T) Result {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(endTime):
		t.Fatalf("%q does not end\nstdout:\n%s\nstderr:\n%s", r.cmd.Args, r.stdout.String(), r.stderr.String())
	}
	if exitErr := (*exec.ExitError)(nil); r.err != nil && !errors.As(r.err, &exitErr) {
		t.Fatalf("%q: %v\n%s", r.cmd.Args, r.err, r.stderr.String())
	}
	return Result{Code: r.cmd.ProcessState.ExitCode(), Stdout: r.stdout.String(), Stderr: r.stderr.String()}
}

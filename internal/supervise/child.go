package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/usage"
)

// How a child is started again.
const (
	firstDelay   = 50 * time.Millisecond
	longestDelay = 2 * time.Second
	healthyTime  = 10 * time.Second // a life this long makes earlier deaths forgotten
	maxDeaths    = 7                // in a row, each after a shorter life
)

// outputTime is how long a dead child's output is still read, should something else hold its end.
const outputTime = time.Second

// Spec is a child to start.
type Spec struct {
	Name string // "writer-1"
	Path string
	Args []string
	// Env is the child's whole environment; the supervisor's own variables are added.
	Env []string
	// Lines gets each line that the child writes, at a bounded rate. Its calls do not overlap.
	Lines func(line string)
	// Died is called when the child died and is about to be started again; it may be nil.
	Died func(err error)
}

// Child is a process that is kept alive.
type Child struct {
	spec Spec
	pipe *os.File

	stopping, killing chan struct{}
	stopOnce, killNow sync.Once
	done              chan struct{}
	err               error // valid once done is closed

	pid      atomic.Int64
	restarts atomic.Int64

	peak usage.Peak
	mu   sync.Mutex
	cpu  usage.CPU // guarded by mu: of the lives that are over
}

// Start starts a child. An error means that it was never there; deaths are dealt with from then on. The child
// is to be stopped by Stop.
func (g *Group) Start(s Spec) (*Child, error) {
	c := &Child{
		spec: s, pipe: g.read,
		stopping: make(chan struct{}), killing: make(chan struct{}), done: make(chan struct{}),
	}
	first, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Name, err)
	}
	go c.supervise(first)
	return c, nil
}

// Name is the child's name.
func (c *Child) Name() string { return c.spec.Name }

// Program is the name of the child's program.
func (c *Child) Program() string { return filepath.Base(c.spec.Path) }

// PID is the process id of the child's present life.
func (c *Child) PID() int { return int(c.pid.Load()) }

// Restarts is how often the child was started again.
func (c *Child) Restarts() int { return int(c.restarts.Load()) }

// Done is closed when the child is over for good: stopped, or beyond help.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err says why the child is over, once Done is closed: nil when it was stopped in order, an error wrapping
// ErrKilled when it had to be killed, else what it died of, with its exit code and its last words.
func (c *Child) Err() error { return c.err }

// Stop asks the child to end (SIGTERM), kills it when ctx ends, and returns when it is gone, with its Err.
func (c *Child) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() { close(c.stopping) })
	select {
	case <-c.done:
	case <-ctx.Done():
		c.killNow.Do(func() { close(c.killing) })
		<-c.done
	}
	return c.err
}

// life is one process.
type life struct {
	cmd   *exec.Cmd
	lines *lines
	began time.Time
	ended chan struct{}
	err   error // Wait's, valid once ended is closed
}

// launch starts a process and a goroutine that waits for it.
func (c *Child) launch() (*life, error) {
	l := &life{lines: newLines(c.spec.Lines), began: time.Now(), ended: make(chan struct{})}
	l.cmd = exec.Command(c.spec.Path, c.spec.Args...)
	// A Go program that panics exits with code 2, which is bad usage here. Asked to crash, it dies of a signal.
	l.cmd.Env = append([]string{"GOTRACEBACK=crash"}, c.spec.Env...)
	l.cmd.Env = append(l.cmd.Env, parentVar+"=3", restartsVar+"="+strconv.Itoa(c.Restarts()))
	l.cmd.ExtraFiles = []*os.File{c.pipe} // becomes descriptor 3
	l.cmd.Stdout, l.cmd.Stderr = l.lines, l.lines
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	l.cmd.WaitDelay = outputTime
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	c.pid.Store(int64(l.cmd.Process.Pid))
	go func() {
		defer close(l.ended)
		l.err = c.attend(l)
		l.lines.flush()
	}()
	return l, nil
}

// supervise goes from life to life until the child is over.
func (c *Child) supervise(l *life) {
	defer close(c.done)
	for deaths := 0; ; {
		stopped, err := c.live(l)
		if stopped {
			c.err = err
			return
		}
		err = c.obituary(l, err)
		if deaths++; time.Since(l.began) >= healthyTime {
			deaths = 1
		}
		switch {
		case exit.Code(err) == exit.Usage:
			c.err = err
			return
		case deaths >= maxDeaths:
			c.err = exit.Errorf(exit.Unavailable, "%w: %d times: %w", ErrGaveUp, deaths, err)
			return
		}
		if c.spec.Died != nil {
			c.spec.Died(err)
		}
		if !c.pause(min(firstDelay<<(deaths-1), longestDelay)) {
			return
		}
		c.restarts.Add(1)
		if l, err = c.launch(); err != nil {
			c.err = fmt.Errorf("restarting %s: %w", c.spec.Name, err)
			return
		}
	}
}

// live waits for the end of a life; stopped says that it was asked to end.
func (c *Child) live(l *life) (stopped bool, err error) {
	select {
	case <-l.ended:
		return false, l.err
	case <-c.stopping:
	}
	// The process may have ended meanwhile: then the signals go nowhere.
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-c.killing:
		_ = l.cmd.Process.Kill()
		<-l.ended
		return true, fmt.Errorf("%s %w", c.spec.Name, ErrKilled)
	}
	if err = c.obituary(l, l.err); exit.Code(err) == exit.OK || endedBy(err, syscall.SIGTERM) {
		err = nil
	}
	return true, err
}

// pause waits before a restart; false means that the child is to stop instead.
func (c *Child) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stopping:
		return false
	}
}

// obituary is what a process died of: a signal, or its exit code and its last line. It is nil for exit code 0 of a process
// that was asked to end; one that was not is told by its code 1.
func (c *Child) obituary(l *life, err error) error {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		select {
		case <-c.stopping:
			return nil
		default:
			return fmt.Errorf("%s ended although nobody asked it to", c.spec.Name)
		}
	}
	var ee *exec.ExitError
	if !errors.As(err, &ee) || !ee.Exited() {
		return exit.Errorf(exit.Internal, "%s (%w)", c.spec.Name, err)
	}
	if last := l.lines.lastLine(); last != "" {
		return exit.Errorf(ee.ExitCode(), "%s (%w): %s", c.spec.Name, err, last)
	}
	return exit.Errorf(ee.ExitCode(), "%s (%w)", c.spec.Name, err)
}

// endedBy reports whether a process was ended by the signal.
func endedBy(err error, s syscall.Signal) bool {
	var ee *exec.ExitError
	if !errors.As(err, &ee) {
		return false
	}
	status, ok := ee.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

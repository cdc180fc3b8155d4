// Package operator_test uses the sluice command as an operator does: runs that are interrupted, watched, controlled
// and killed, with the real programs, each test with a camera and a runtime folder of its own.
package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds every wait.
const patience = 60 * time.Second

var bin *programs.Programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = programs.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// unique is a camera's name that no other test has: all share the machine's shared memory.
func unique(camera string) string { return camera + "-" + strings.ToLower(rand.Text()[:6]) }

// station is one `sluice run` and what an operator has around it.
type station struct {
	t       *testing.T
	camera  string
	runtime string // XDG_RUNTIME_DIR
	out     string // where stores are made
	cmd     *exec.Cmd
	ended   chan struct{}
	stdout  bytes.Buffer
	stderr  bytes.Buffer
	client  *bus.Client
	broker  bus.Endpoint
}

// record starts `sluice run --json` with two writers and an analyser and waits until it has captured some frames.
func record(t *testing.T, camera string, args ...string) *station {
	t.Helper()
	s := begin(t, camera, args...)
	s.await("frames", func(st bus.Status) bool { return st.Captured > 50 })
	return s
}

// begin starts the same and waits only for its broker.
func begin(t *testing.T, camera string, args ...string) *station {
	t.Helper()
	s := &station{t: t, camera: unique(camera), runtime: t.TempDir(), out: t.TempDir(), ended: make(chan struct{})}
	s.cmd = s.command(append([]string{
		"run", "--camera", s.camera, "--out", s.out, "--json", "--writers", "2", "--budget", "32MiB",
		"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash",
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a foreground group, as a shell makes one
	s.launch()
	return s
}

// launch starts the station's run and connects to its broker.
func (s *station) launch() {
	s.t.Helper()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // its exit code is what tests look at
	}()
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended, unless the test failed
		<-s.ended
	})
	s.connect()
}

// command prepares a sluice command in the station's surroundings.
func (s *station) command(args ...string) *exec.Cmd {
	cmd := bin.Command(s.t.Context(), "sluice", args...)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+s.runtime)
	return cmd
}

// sluice runs a sluice command to its end.
func (s *station) sluice(args ...string) programs.Result {
	s.t.Helper()
	cmd := s.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its exit code is what tests look at
	return programs.Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// connect waits for the run's broker and connects to it.
func (s *station) connect() {
	s.t.Helper()
	file := broker.At(filepath.Join(s.runtime, "sluice"), s.camera).File()
	s.poll("a broker", func() bool {
		var err error
		s.broker, err = bus.ReadEndpoint(file)
		return err == nil
	})
	nc, err := bus.Connect(s.t.Context(), bus.Options{NATS: config.NATS{NATSFile: file, ConnectTimeout: patience}, Process: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	s.client = bus.NewClient(nc, s.camera)
}

// await waits until the camera's status is as wanted.
func (s *station) await(what string, want func(bus.Status) bool) (found bus.Status) {
	s.t.Helper()
	s.poll(what, func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		st, err := s.client.Status(ctx, bus.RunRequest{})
		found = st
		return err == nil && want(st)
	})
	return found
}

// pollAnyway waits for a condition that may come when the run has ended.
func (s *station) pollAnyway(what string, done func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for !done() {
		select {
		case <-ticker.C:
		case <-limit:
			s.t.Fatalf("no %s after %s", what, patience)
		}
	}
}

// poll waits for a condition that nothing announces.
func (s *station) poll(what string, done func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for !done() {
		select {
		case <-ticker.C:
		case <-s.ended:
			if !done() {
				s.t.Fatalf("the run has ended, waited for %s\n%s%s", what, s.stdout.String(), s.stderr.String())
			}
			return
		case <-limit:
			s.t.Fatalf("no %s after %s", what, patience)
		}
	}
}

// interrupt sends Ctrl-C to the foreground group.
func (s *station) interrupt() {
	s.t.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
}

// kill kills a process of the run.
func (s *station) kill(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// freeze stops processes of the run, thaw has them go on; who has ended is passed over.
func (s *station) freeze(pids ...int) { s.signal(syscall.SIGSTOP, pids...) }

func (s *station) thaw(pids ...int) { s.signal(syscall.SIGCONT, pids...) }

func (s *station) signal(sig syscall.Signal, pids ...int) {
	s.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Fatal(err)
		}
	}
}

// end waits for the end of the run and returns its account.
func (s *station) end(want int) run.Summary {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("the run does not end")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != want {
		s.t.Fatalf("exit code %d, want %d\n%s%s", code, want, s.stdout.String(), s.stderr.String())
	}
	var sum run.Summary
	out := strings.TrimRight(s.stdout.String(), "\n")
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &sum); err != nil {
		s.t.Fatalf("no summary: %v\n%s%s", err, out, s.stderr.String())
	}
	return sum
}

// sound checks the store, and that every captured frame is in it.
func (s *station) sound(sum run.Summary) {
	s.t.Helper()
	bin.Verify(s.t, sum)
	if sum.Written+sum.Lost != sum.Captured || sum.Captured == 0 {
		s.t.Errorf("captured %d, written %d, lost %d", sum.Captured, sum.Written, sum.Lost)
	}
}

// gone checks that the run left nothing behind.
func (s *station) gone() {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.runtime, "sluice", s.camera+".json")); err == nil {
		s.t.Error("the broker's file is still there")
	}
	if r := s.sluice("slabs", "--json"); strings.Contains(r.Stdout, `"camera":"`+s.camera+`"`) {
		s.t.Errorf("a slab is still there: %s", r.Stdout)
	}
}

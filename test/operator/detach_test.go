package operator_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// detached is what `sluice run --detach --json` prints.
type detached struct {
	Camera, Run, Store, Log string
	PID                     int
}

// detach starts a detached run from a terminal of its own and closes the terminal when the command has returned.
func detach(t *testing.T, camera string) (*station, detached) {
	t.Helper()
	window, terminal := openTerminal(t)
	s := &station{t: t, camera: unique(camera), runtime: t.TempDir(), out: t.TempDir(), ended: make(chan struct{})}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin.Dir, "sluice"), s.detaching()...)
	cmd.Env = s.command().Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	terminal.Close()
	if err := window.Close(); err != nil {
		t.Fatal(err)
	}
	var d detached
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	t.Cleanup(func() { _ = syscall.Kill(d.PID, syscall.SIGKILL) }) // it has ended, unless the test failed
	if lines := strings.Split(stderr.String(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "run ") || lines[1] != "store "+d.Store ||
		!strings.HasPrefix(lines[2], "at 200 frames/s ") {
		t.Errorf("it said %q", lines)
	}
	s.connect()
	return s, d
}

func (s *station) detaching(args ...string) []string {
	return append([]string{
		"run", "--detach", "--json", "--camera", s.camera, "--out", s.out, "--budget", "32MiB",
		"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash",
	}, args...)
}

// summary decodes what `ctl wait --json` printed.
func summary(t *testing.T, r programs.Result) (sum run.Summary) {
	t.Helper()
	r.LastLine(t, &sum)
	return sum
}

// TestDetach has a run outlive its terminal, and finds it, stops it and waits for it from elsewhere.
func TestDetach(t *testing.T) {
	s, d := detach(t, "op-detach")
	before := s.recorded()
	if d.Camera != s.camera || d.Run != before.Run.String() || d.Store != before.Store {
		t.Errorf("it said %+v, the status %+v", d, before)
	}
	leader, err := unix.Getsid(d.PID)
	if err != nil || leader != d.PID {
		t.Errorf("its session is %d's, %v", leader, err)
	}
	s.await("frames without a terminal", func(st bus.Status) bool { return st.Captured > before.Captured+100 })
	if r := s.sluice("monitor", "--once"); r.Code != 0 || !strings.Contains(r.Stdout, s.camera+"  RUNNING") {
		t.Errorf("monitor: %+v", r)
	}
	if r := s.sluice("env"); r.Code != 0 || !strings.Contains(r.Stdout, "export SLUICE_CAMERA="+s.camera) {
		t.Errorf("env: %+v", r)
	}
	if r := s.sluice(s.detaching()...); r.Code != 2 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "already has a run on this machine") {
		t.Errorf("a second one: %+v", r)
	}
	waiting := make(chan programs.Result)
	go func() { waiting <- s.sluice("ctl", s.camera, "wait", "--json") }()
	if r := s.sluice("ctl", s.camera, "stop"); r.Code != 0 {
		t.Errorf("stop: %+v", r)
	}
	r := <-waiting
	sum := summary(t, r)
	if r.Code != 0 || sum.Run != before.Run || sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Store != d.Store {
		t.Errorf("wait: %+v", r)
	}
	s.exited(d.PID)
	s.sound(sum)
	s.gone()
	if again := s.sluice("ctl", s.camera, "wait", "--json"); again.Code != 0 || again.Stdout != r.Stdout {
		t.Errorf("wait when it is over: %+v, want %s", again, r.Stdout)
	}
	log, err := os.ReadFile(d.Log)
	if err != nil || !strings.Contains(string(log), "store "+d.Store+"\n") || !strings.Contains(string(log), `"ended_by":"stop"`) {
		t.Errorf("the log, %v:\n%s", err, log)
	}
	if info, err := os.Stat(d.Log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log's mode: %v, %v", info, err)
	}
}

// TestDetachedIsKilled: the children of a killed detached run complete its store, and who waits learns that from it.
func TestDetachedIsKilled(t *testing.T) {
	s, d := detach(t, "op-detach-kill")
	before := s.recorded()
	s.kill(d.PID)
	r := s.sluice("ctl", s.camera, "wait", "--json")
	sum := summary(t, r)
	if r.Code != 0 || sum.Run != before.Run || sum.Lost != 0 || sum.Captured < before.Captured {
		t.Errorf("wait: %+v", r)
	}
	s.sound(sum)
	if again := s.sluice("ctl", s.camera, "wait", "--json"); again.Code != 0 || summary(t, again).Run != before.Run {
		t.Errorf("wait when it is over: %+v", again)
	}
}

// TestDetachFails: what keeps a run from beginning is told by the command that was to detach it, with its code.
func TestDetachFails(t *testing.T) {
	s := &station{t: t, camera: unique("op-detach-not"), runtime: t.TempDir(), out: t.TempDir(), ended: make(chan struct{})}
	if err := os.Mkdir(filepath.Join(s.out, "taken.zarr"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`source sim: unknown key "widht"`:     {"--source", "sim:?widht=3"},
		"file: /no/such/film: no such file":   {"--source", "file:/no/such/film"},
		"taken.zarr exists already":           {"--store", "taken.zarr"},
		"the run needs":                       {"--frames", "1000000000000"},
		"--out: mkdir /no/such":               {"--out", "/no/such/folder"},
		"NATS at nats://127.0.0.1:1: nobody ": {"--nats", "nats://127.0.0.1:1", "--connect-timeout", "200ms"},
	} {
		r := s.sluice(s.detaching(args...)...)
		if r.Code != 2 || r.Stdout != "" || strings.Count(r.Stderr, "\n") != 1 || !strings.HasPrefix(r.Stderr, "sluice: ") || !strings.Contains(r.Stderr, want) {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if r := s.sluice("ctl", s.camera, "wait"); r.Code != 2 {
		t.Errorf("wait for nothing: %+v", r)
	}
	s.gone()
}

// TestDetachInterrupted is Ctrl-C before the run has begun: it does not begin.
func TestDetachInterrupted(t *testing.T) {
	s := &station{t: t, camera: unique("op-detach-int"), runtime: t.TempDir(), out: t.TempDir(), ended: make(chan struct{})}
	var stderr bytes.Buffer
	cmd := s.command(s.detaching("--nats", "nats://127.0.0.1:1", "--connect-timeout", "10m")...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.runtime, "sluice", s.camera+".run")
	s.pollAnyway("the run's process", func() bool { _, err := os.Stat(file); return err == nil })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is what counts
	if code := cmd.ProcessState.ExitCode(); code != 130 || stderr.String() != "sluice: interrupted before the run began\n" {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

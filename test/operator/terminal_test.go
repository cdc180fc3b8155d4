package operator_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// openTerminal makes a terminal: what a window has of it, and what programs in it have. It is closed with the test.
func openTerminal(t *testing.T) (window, terminal *os.File) {
	t.Helper()
	window, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { window.Close() })
	control, err := window.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if e := control.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return window, terminal
}

// inTerminal starts a program that leads the session of a terminal, as a shell does, with sluice run below it where the
// program is one. Nobody reads the terminal.
func inTerminal(t *testing.T, camera, program string, args ...string) (*station, *os.File) {
	t.Helper()
	window, terminal := openTerminal(t)
	s := &station{t: t, camera: unique(camera), runtime: t.TempDir(), out: t.TempDir(), ended: make(chan struct{})}
	args = append(args, "run", "--camera", s.camera, "--out", s.out, "--writers", "2", "--budget", "32MiB",
		"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash")
	s.cmd = exec.CommandContext(t.Context(), program, args...)
	s.cmd.Env = slices.Concat(s.command().Env, []string{"TERM=xterm"})
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = terminal, terminal, terminal
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.launch()
	terminal.Close() // the programs have it
	return s, window
}

// recorded awaits frames and returns the store that they go to.
func (s *station) recorded() bus.Status {
	s.t.Helper()
	return s.await("frames", func(st bus.Status) bool { return st.Captured > 50 })
}

// account is the run's summary as the store has it, once the store is finished.
func (s *station) account(path string) (sum run.Summary) {
	s.t.Helper()
	s.pollAnyway("a finished store", func() bool {
		a, err := store.ReadAttributes(vfs.OS{}, path)
		if err != nil || a.Summary == nil {
			return false
		}
		sum = *a.Summary
		return true
	})
	return sum
}

// exited awaits the end of processes that are not the test's children.
func (s *station) exited(pids ...int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, pid := range pids {
		awaitExit(ctx, s.t, pid)
	}
}

// TestTerminalCloses closes the window in which a run goes on: it drains as after Ctrl-C, and its account is in the
// store.
func TestTerminalCloses(t *testing.T) {
	s, window := inTerminal(t, "op-window", filepath.Join(bin.Dir, "sluice"))
	st := s.recorded()
	if err := window.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %s", s.cmd.ProcessState)
	}
	sum := s.account(st.Store)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Restarts != 0 {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
}

// TestShellGoes is the same with a shell between: it dies of the hangup, and the run is told once more.
func TestShellGoes(t *testing.T) {
	s, window := inTerminal(t, "op-shell", "/bin/sh", "-c", `"$0" "$@"; :`, filepath.Join(bin.Dir, "sluice"))
	st := s.recorded()
	pids := []int{st.PID, s.broker.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	if err := window.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	sum := s.account(st.Store)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 {
		t.Errorf("%+v", sum)
	}
	s.exited(pids...)
	s.sound(sum)
	s.gone()
}

// TestTerminalThatNobodyReads: a terminal whose window is stuck does not hold the run up, nor Ctrl-C in it.
func TestTerminalThatNobodyReads(t *testing.T) {
	s, window := inTerminal(t, "op-stuck", filepath.Join(bin.Dir, "sluice"))
	st := s.await("frames of three seconds", func(st bus.Status) bool { return st.Captured > 600 })
	if _, err := window.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %s", s.cmd.ProcessState)
	}
	sum := s.account(st.Store)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
}

// TestHangupUnderNohup: a run that is started to outlive its terminal goes on.
func TestHangupUnderNohup(t *testing.T) {
	s, window := inTerminal(t, "op-nohup", "/bin/sh", "-c", `trap "" HUP; exec "$0" "$@"`, filepath.Join(bin.Dir, "sluice"))
	before := s.recorded()
	if err := window.Close(); err != nil {
		t.Fatal(err)
	}
	s.await("frames after the hangup", func(st bus.Status) bool {
		return st.State == bus.StateRunning && st.Captured > before.Captured+200
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %s", s.cmd.ProcessState)
	}
	s.sound(s.account(before.Store))
	s.gone()
}

//go:build stack

package stack_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds each wait of these tests.
const patience = 2 * time.Minute

// engine is a Docker engine of the test's own. Its network, mounts and processes are in namespaces that end with it: the
// machine's firewall is left alone, nothing in it reaches out, and nothing of it stays.
type engine struct {
	t      *testing.T
	socket string
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	dir := t.TempDir()
	e := &engine{t: t, socket: filepath.Join(dir, "docker.sock")}
	said, err := os.Create(filepath.Join(dir, "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "mount --make-rprivate / && mount -t proc proc /proc && ip link set lo up && exec dockerd"+
		" --host unix://"+e.socket+" --data-root "+filepath.Join(dir, "data")+" --exec-root "+filepath.Join(dir, "exec")+" --pidfile "+filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = said, said
	// The engine dies with this thread, which is this test's until its end, whatever that is.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL, Setpgid: true,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what it says in the end is in its log
	}()
	t.Cleanup(func() {
		if list := strings.Fields(e.docker("ps", "--all", "--quiet")); len(list) > 0 { // of a test that failed
			e.docker(append([]string{"rm", "--force", "--volumes"}, list...)...)
		}
		// Volumes' mounts are the engine's to undo. What it does not end takes its namespace's end.
		err := cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			err = errors.Join(err, errors.New("it does not end"), cmd.Process.Kill())
			<-ended
		}
		if err != nil {
			t.Errorf("end of the Docker engine: %v", err)
		}
		said.Close()
	})
	programs.Eventually(t, patience, "the Docker engine answers", func() bool {
		select {
		case <-ended:
			text, err := os.ReadFile(said.Name())
			t.Fatalf("the Docker engine has ended: %s, %v\n%s", cmd.ProcessState, err, text)
		default:
		}
		return e.command("docker", "version").Run() == nil
	})
	return e
}

// command is one that talks to the engine.
func (e *engine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SLUICE_") && !strings.HasPrefix(v, "DOCKER_") && !strings.HasPrefix(v, "COMPOSE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+e.socket)
	return cmd
}

// docker runs Docker's command and returns what it prints.
func (e *engine) docker(args ...string) string {
	e.t.Helper()
	return output(e.t, e.command("docker", args...))
}

// output runs a command, which must succeed, and returns its stdout.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, out, said.String())
	}
	return string(out)
}

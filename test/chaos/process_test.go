package chaos_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one of a round's processes that the kernel knows.
type process struct {
	pid, parent int
	name        string // "acquire", "writer-1", "analyze-2", "broker", "run"
}

// processes lists a camera's processes, without those of the test. supervisor is `sluice run`'s process, 0 for none.
func processes(camera string, supervisor int) (list []process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // a pattern that is right
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(text) == 0 { // it has ended
			continue
		}
		args := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		p := process{pid: pid, parent: parentOf(dir), name: filepath.Base(args[0])}
		if p.name == "sluice" && len(args) > 1 {
			p.name = args[1]
		}
		ours := slices.Contains(args, "--camera="+camera) || slices.Contains(args, camera) || p.name == "broker" && supervisor != 0 && p.parent == supervisor
		if !ours {
			continue
		}
		for _, a := range args {
			if name, ok := strings.CutPrefix(a, "--name="); ok {
				p.name = name
			}
		}
		list = append(list, p)
	}
	return list
}

// parentOf reads a process's parent from its folder in /proc.
func parentOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // behind the name, which may have spaces
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

// stacks ends processes in a way that has them tell where each goroutine is. Those of a supervisor are read here, while it
// is stopped: it would cut what they say short. The test's own keep what they say.
func stacks(t *testing.T, list []process, supervisor int) {
	t.Helper()
	if supervisor == 0 {
		for _, p := range list {
			_ = syscall.Kill(p.pid, syscall.SIGCONT)
			_ = syscall.Kill(p.pid, syscall.SIGQUIT)
		}
		return
	}
	_ = syscall.Kill(supervisor, syscall.SIGSTOP)
	defer func() {
		_ = syscall.Kill(supervisor, syscall.SIGCONT)
		_ = syscall.Kill(supervisor, syscall.SIGQUIT)
	}()
	for _, p := range list {
		if p.pid == supervisor {
			continue
		}
		text, err := stack(p.pid)
		t.Logf("%s, process %d: %v\n%s", p.name, p.pid, err, text)
	}
}

// stack reads what a process says at SIGQUIT from the pipe that is its standard error.
func stack(pid int) (string, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/2", pid), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	_ = syscall.Kill(pid, syscall.SIGCONT)
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

//go:build figures

package operator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// fullSpeed is a camera of 2048 × 2048 uint16 frames, 8 MiB each, as fast as the disk takes them.
const fullSpeed = "sim:?width=2048&height=2048&dtype=uint16&fps=0&pattern=hash"

// killedRun records until so many frames are durable and kills every process of the run at once. It returns the store,
// and how many frames the run had reported as durable before.
func killedRun(t *testing.T, camera string, frames uint64, args ...string) (path string, reported uint64) {
	t.Helper()
	camera = fmt.Sprintf("%s-%06x", camera, rand.Uint32()>>8)
	s := begin(t, camera, args...)
	t.Cleanup(func() { // what a failed test leaves; the test's context has ended
		_ = exec.Command(filepath.Join(bin.Dir, "sluice"), "slabs", camera, "--rm", "--force").Run()
	})
	st := s.await("frames", func(st bus.Status) bool { return st.Durable >= frames })
	pids := []int{s.cmd.Process.Pid, s.broker.PID, st.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	<-s.ended
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for _, pid := range pids {
		for !dead(pid) {
			select {
			case <-ticker.C:
			case <-limit:
				t.Fatalf("process %d does not die", pid)
			}
		}
	}
	stores, err := filepath.Glob(filepath.Join(s.out, "*.zarr"))
	if err != nil || len(stores) != 1 {
		t.Fatalf("stores %v, %v", stores, err)
	}
	return stores[0], st.Durable
}

// dead reports whether a process has ended and holds nothing any more, waited for or not.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, found := strings.Cut(string(b), ") ")
	return err != nil || found && (rest[0] == 'Z' || rest[0] == 'X')
}

// cost is what a command took.
type cost struct {
	took    time.Duration
	anon    int64 // peak of RssAnon in KiB, looked at every two milliseconds
	read    int64 // bytes that it had the disk read
	stdout  []byte
	stderr  string
	outcome int
}

func (c cost) String() string {
	return fmt.Sprintf("%.2f s, RssAnon at most %.1f MiB, %.2f GiB read", c.took.Seconds(), float64(c.anon)/1024, float64(c.read)/(1<<30))
}

// measure runs a sluice command and looks at it meanwhile.
func measure(t *testing.T, args ...string) cost {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := bin.Command(t.Context(), "sluice", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its exit code is what tests look at
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	var c cost
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-ticker.C:
			c.anon = max(c.anon, anonOf(cmd.Process.Pid))
		}
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no usage of a process that has ended")
	}
	c.took, c.read, c.stdout, c.stderr = time.Since(start), usage.Inblock*512, stdout.Bytes(), stderr.String()
	c.outcome = cmd.ProcessState.ExitCode()
	return c
}

// anonOf is a process' anonymous memory in KiB, 0 where it is gone.
func anonOf(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// completed recovers a store and verifies it.
func completed(t *testing.T, path string) (found store.Recovery, recovery, verification cost) {
	t.Helper()
	recovery = measure(t, "recover", "--discard-slab", "--json", path)
	if err := json.Unmarshal(recovery.stdout, &found); err != nil || recovery.outcome != 3 {
		t.Fatalf("recover ended with %d: %v\n%s", recovery.outcome, err, recovery.stderr)
	}
	verification = measure(t, "verify", "--json", path)
	if verification.outcome != 0 {
		t.Fatalf("verify ended with %d\n%s%s", verification.outcome, verification.stdout, verification.stderr)
	}
	return found, recovery, verification
}

// TestFigureRecovery makes stores by runs that are killed, and prints what it takes to recover and to verify them.
func TestFigureRecovery(t *testing.T) {
	const large = 1280 // frames of 8 MiB: 10 GiB
	for _, c := range []struct {
		name   string
		frames uint64
		args   []string
	}{
		{"10 GiB", large, []string{"--source", fullSpeed, "--budget", "256MiB"}},
		{"10 GiB in one shard", large, []string{"--source", fullSpeed, "--budget", "256MiB", "--writers", "1", "--shard-frames", "4096"}},
		{"shards of one frame", 200, []string{"--source", "sim:?width=64&height=64&dtype=uint8&fps=0&pattern=hash", "--shard-frames", "1", "--budget", "1MiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, _ := killedRun(t, "figure-recovery", c.frames, c.args...)
			found, recovery, verification := completed(t, path)
			t.Logf("%s: %d frames, %d shards complete, %d recovered with %d frames", c.name, found.Captured, found.Sealed, found.Recovered, found.RecoveredFrames)
			t.Logf("recover: %s", recovery)
			t.Logf("verify: %s", verification)
		})
	}
}

// TestFigureKill kills a run at full speed and prints what others are asked too: what was reported as safe and is gone,
// what the metadata claims and nobody has, what is whole and can't be read.
func TestFigureKill(t *testing.T) {
	path, reported := killedRun(t, "figure-kill", 400, "--source", fullSpeed, "--budget", "256MiB")
	before, err := store.Verify(t.Context(), vfs.OS{}, path, store.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claimed, empty := before.ReadableUntil, uint64(0)
	for _, b := range before.Bad {
		if b.Seq < claimed {
			empty += min(b.Count, claimed-b.Seq)
		}
	}
	found, _, _ := completed(t, path)
	gone := reported - min(reported, found.Written)
	t.Logf("reported as durable: %d frames; of these gone: %d", reported, gone)
	t.Logf("claimed by the metadata: %d frames; of these without data and not named as lost: %d", claimed, empty)
	t.Logf("whole frames that no reader can reach: %d before sluice recover, 0 after", before.Recoverable)
	t.Logf("captured %d: written %d, lost and named in the ledger %d", found.Captured, found.Written, found.Lost)
	if gone > 0 || empty > 0 || found.Written != before.Written+before.Recoverable {
		t.Errorf("before %+v, found %+v", before, found)
	}
}

package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bench"
	"github.com/sluicedaq/sluice/test/programs"
)

// benchRun is a `sluice bench` with a runtime folder of its own.
type benchRun struct {
	*programs.Running
	env []string
	out string
}

func startBench(t *testing.T, out string, args ...string) *benchRun {
	t.Helper()
	b := &benchRun{env: []string{"XDG_RUNTIME_DIR=" + t.TempDir(), "XDG_CACHE_HOME=" + t.TempDir()}, out: out}
	b.Running = bin.StartWith(t, b.env, "sluice", append([]string{"bench", "--out", out, "--budget", "64MiB"}, args...)...)
	return b
}

// clean fails the test where the bench left a file, or a process of its programs that goes on.
func (b *benchRun) clean(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(b.out)
	if err != nil || len(left) > 0 {
		t.Errorf("in %s there is %v, %v", b.out, left, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for alive := []string{""}; len(alive) > 0; {
		alive = nil
		list, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), b.env[0]+"\x00") {
				alive = append(alive, path)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("these go on: %v", alive)
		}
	}
}

// awaitFile waits until there is a file in one of the folders that the bench makes.
func (b *benchRun) awaitFile(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		if found, err := filepath.Glob(filepath.Join(b.out, "bench-*", name)); err == nil && len(found) > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-b.Done():
			t.Fatalf("it has ended: %+v", b.Wait(t))
		case <-limit:
			t.Fatalf("no file %s after %s", name, patience)
		}
	}
}

// TestBench measures the disk with small runs of the real programs.
func TestBench(t *testing.T) {
	b := startBench(t, t.TempDir(), "disk", "--size", "64MiB", "--pairs", "2", "--json")
	r := b.Wait(t)
	if r.Code != 0 || r.Stderr != "" {
		t.Fatalf("%+v", r)
	}
	var report struct {
		V        int             `json:"v"`
		Measures []bench.Measure `json:"measures"`
	}
	r.LastLine(t, &report)
	if report.V != 1 || len(report.Measures) != 3 || strings.Count(r.Stdout, "\n") != 1 {
		t.Fatalf("%+v", report)
	}
	for i, m := range report.Measures {
		if m.Achieved <= 0 || m.Limit <= 0 || m.Ratio <= 0 || m.Unit != "GB/s" || m.Pairs != 2 || m.Frames <= 0 {
			t.Errorf("%+v", m)
		}
		if c := m.CPU; c == nil || c.Acquire <= 0 || c.Writer <= 0 || c.Rest <= 0 || (c.Analyze > 0) != (i == 2) {
			t.Errorf("%s: %+v", m.Name, m.CPU)
		}
		if m.MemoryKept == nil || !*m.MemoryKept || len(m.Memory) < 4 {
			t.Errorf("%s: %+v", m.Name, m.Memory)
		}
		n := uint64(64 << 20 / m.FrameBytes)
		if len(m.Latency) != 2 || m.Latency[0].Frames != 2*n || m.Latency[0].P50NS <= 0 || m.Latency[1].Load != bench.LoadHalf || m.Latency[1].Frames == 0 {
			t.Errorf("%s of %d frames: %+v", m.Name, n, m.Latency)
		}
	}
	b.clean(t)
}

// TestBenchText is what a person reads.
func TestBenchText(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record.json")
	b := startBench(t, t.TempDir(), "compress", "--size", "64MiB", "--pairs", "1", "--only", "zstd:1", "--record", record)
	r := b.Wait(t)
	var recorded struct{ Measures []bench.Measure }
	if text, err := os.ReadFile(record); err != nil || json.Unmarshal(text, &recorded) != nil || len(recorded.Measures) < 2 {
		t.Errorf("%v: %s", err, text)
	}
	if r.Code != 0 || r.Stderr != "" {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{
		"camera to disk, frames of 8 MiB, zstd:1 ", "camera to disk, frames of 8 MiB, blosc-zstd:1 ", " ratio ", "the encoder alone on ", "of the size",
		"    latency  full load: p50 ", "half load: p50 ", "    CPU      ", "a GB: acquire ", ", the rest ", ": kept\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("there is no %q in\n%s", want, r.Stdout)
		}
	}
	b.clean(t)
}

// TestBenchInterrupted: Ctrl-C while a run records and while its limit is measured. Nothing stays.
func TestBenchInterrupted(t *testing.T) {
	for _, what := range []string{"*.zarr", "raw-0"} {
		b := startBench(t, t.TempDir(), "disk", "--size", "4GiB", "--pairs", "1000")
		b.awaitFile(t, what)
		b.SignalGroup(t, syscall.SIGINT)
		if r := b.Wait(t); r.Code != 130 || r.Stderr != "sluice: interrupted\n" {
			t.Errorf("%s: %+v", what, r)
		}
		b.clean(t)
	}
}

func TestBenchRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"nothing"}, 2, `must be one of "transport","disk","fft","compress","all"`},
		{[]string{"disk", "--pairs", "0"}, 2, "--pairs: 0: want 1 to 1000"},
		{[]string{"disk", "--size", "1MiB"}, 2, "want 64MiB at least"},
		{[]string{"disk", "--budget", "1000TiB"}, 2, "of memory that is free"},
		{[]string{"disk", "--out", filepath.Join(dir, "missing")}, 2, "missing is not a folder"},
		{[]string{"disk", "--out", file}, 2, "is not a folder"},
		{[]string{"fft", "--size", "64MiB", "--only", "a horse"}, 2, `no measure of fft has "a horse" in its name`},
		{[]string{"all", "--out", dir, "--size", "1000TiB"}, 5, "a smaller --size takes less"},
	} {
		r := bin.Run(t, "sluice", append([]string{"bench"}, c.args...)...)
		if r.Code != c.code || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, c.text) || strings.Contains(r.Stdout, " ratio ") {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

// TestBenchDiskFull: others fill the disk while it is measured. It has no direct I/O besides.
func TestBenchDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("sluice-test", dir, "tmpfs", 0, "size=192m"); err != nil {
		t.Fatalf("mounting a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	b := startBench(t, dir, "disk", "--size", "128MiB", "--pairs", "1000")
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	filling := make(chan struct{})
	go func() {
		defer close(filling)
		block := make([]byte, 1<<20)
		for t.Context().Err() == nil {
			select {
			case <-b.Done():
				return
			default:
			}
			if _, err := f.Write(block); err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Error(err)
				return
			}
		}
	}()
	r := b.Wait(t)
	<-filling
	if err := os.Remove(f.Name()); err != nil {
		t.Error(err)
	}
	if r.Code != 5 || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	b.clean(t)
}

// TestBenchInMemory: where a folder refuses direct I/O the result says so; where it takes it, it says nothing.
func TestBenchInMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	probe := filepath.Join(dir, "probe")
	f, direct := os.OpenFile(probe, os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
	if direct == nil {
		f.Close()
	}
	if err := os.Remove(probe); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	b := startBench(t, dir, "disk", "--size", "64MiB", "--pairs", "1", "--json")
	r := b.Wait(t)
	var report struct{ Measures []bench.Measure }
	if r.Code != 0 || json.Unmarshal([]byte(r.Stdout), &report) != nil || len(report.Measures) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, m := range report.Measures {
		if refused := strings.HasPrefix(m.Note, "neither side writes past the page cache: "); refused != (direct != nil) {
			t.Errorf("the file system says %v, the measure %q", direct, m.Note)
		}
	}
	b.clean(t)
}

package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are small ones, whose steps are written down.
func options(t *testing.T, steps *[]Progress) Options {
	return Options{
		Dir: t.TempDir(), Shm: "/dev/shm", Budget: 64 << 20, Bytes: 64 << 20, Pairs: 1,
		Told: func(p Progress) { *steps = append(*steps, p) },
	}
}

// TestRound: the pairs' order, what becomes of the figures, and an error that names what was measured.
func TestRound(t *testing.T) {
	var steps []Progress
	o := options(t, &steps)
	var order string
	side := func(name string, values ...float64) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) {
			order += name
			v := values[0]
			values = values[1:]
			return v, nil
		}
	}
	m := Measure{Name: "it", Unit: unitGB, FrameBytes: 1e6}
	if err := o.round(t.Context(), &m, 3, side("a", 1, 8, 3), side("l", 2, 10, 3)); err != nil {
		t.Fatal(err)
	}
	if order != "allaal" {
		t.Errorf("measured in the order %s", order)
	}
	if m.Achieved != 3 || m.Limit != 3 || m.Ratio != 0.8 || m.RatioLow != 0.5 || m.RatioHigh != 1 || m.Pairs != 3 || m.Frames != 3000 {
		t.Errorf("%+v", m)
	}
	if len(steps) != 6 || steps[5] != (Progress{Measure: "it", Pair: 3, Pairs: 3, What: "the limit"}) {
		t.Errorf("steps %+v", steps)
	}
	broken := errors.New("broken")
	err := o.round(t.Context(), &m, 1, side("a", 1), func(context.Context) (float64, error) { return 0, broken })
	if !errors.Is(err, broken) || err.Error() != "measuring it: broken" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.round(ctx, &m, 1, side("a"), side("l")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestUsed: processor time by part, the most memory of each process, and quantiles of several runs.
func TestUsed(t *testing.T) {
	process := func(name string, cpu float64, peak, limit int64) run.Process {
		return run.Process{Name: name, UserSeconds: cpu / 4, SystemSeconds: cpu * 3 / 4, PeakAnonBytes: peak, LimitBytes: limit}
	}
	made := func(scale float64, peak int64) account {
		return account{Summary: run.Summary{
			Bytes: 2e9, Latency: &run.Latency{Frames: 10, P50NS: int64(scale), P99NS: int64(2 * scale), P999NS: int64(3 * scale), MaxNS: int64(4 * scale)},
			Processes: []run.Process{
				process("acquire", 2*scale, 10, 64), process("writer-1", 4*scale, peak, 128), process("writer-2", 4*scale, 1, 128),
				process("analyze-1", 6*scale, 2, 200), process("broker", scale, 500, 0), process("run", scale, 3, 0),
			},
		}}
	}
	var m Measure
	m.used([]account{made(1, 5), made(4, 128), made(2, 7)})
	if want := (CPU{Acquire: 2, Writer: 8, Analyze: 6, Rest: 2}); *m.CPU != want || m.CPU.Total() != 18 {
		t.Errorf("%+v, want %+v", *m.CPU, want)
	}
	if m.Memory[1] != (Memory{"writer-1", 128, 128}) || m.Memory[4] != (Memory{"broker", 500, 0}) || !*m.MemoryKept {
		t.Errorf("%+v", m.Memory)
	}
	if want := (Latency{LoadFull, run.Latency{Frames: 30, P50NS: 2, P99NS: 4, P999NS: 6, MaxNS: 16}}); m.Latency[0] != want {
		t.Errorf("%+v, want %+v", m.Latency, want)
	}
	m = Measure{}
	m.used([]account{made(1, 129)})
	if *m.MemoryKept {
		t.Errorf("a writer with more than is promised: %+v", m.Memory)
	}
	if got := made(1, 1).cpuPerGB(); got != 9 {
		t.Errorf("%g s a GB", got)
	}
}

// TestRawDisk writes for real, and leaves nothing behind.
func TestRawDisk(t *testing.T) {
	dir := t.TempDir()
	s := scene{"64 KiB", 256, 128, frames.Uint16}
	r, err := newRawDisk(dir, s, 100, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if r.bytes != rawBytes || r.file != 1 || len(r.memory) != 8<<20 {
		t.Fatalf("writes of %d bytes, %d a file, from %d bytes", r.bytes, r.file, len(r.memory))
	}
	if p := r.memory[64<<10:]; p[0] != 131 || p[2] != 132 { // frame 1 of the pattern counter, 16 bits
		t.Errorf("the second frame begins with % x", p[:4])
	}
	perSec, err := r.run(t.Context(), 9<<20) // three files
	if err != nil || perSec <= 0 {
		t.Errorf("%g bytes/s, %v", perSec, err)
	}
	if perSec, err := r.durable(t.Context(), 33<<20); err != nil || perSec <= 0 {
		t.Errorf("%g bytes/s, %v", perSec, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, write := range []func(context.Context, int64) (float64, error){r.run, r.durable} {
		if _, err := write(ctx, 64<<20); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	r.dir = filepath.Join(dir, "missing")
	if _, err := r.run(t.Context(), 1<<20); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// TestRawDiskRefused: a file system that refuses direct I/O is written to all the same, and the limit knows it.
func TestRawDiskRefused(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Newer kernels take the flag on a memory file system, and have no disk to go past.
	f, openErr := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
	if openErr == nil {
		f.Close()
	}
	r, err := newRawDisk(dir, small, 8, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if _, err := r.run(t.Context(), 8<<20); err != nil {
		t.Fatal(err)
	}
	if (r.refused != nil) != (openErr != nil) {
		t.Errorf("the limit says %v, the file system %v", r.refused, openErr)
	}
}

// TestAwaitRest: a disk that rests is not waited for long, one that is none not at all, and the end of the context ends it.
func TestAwaitRest(t *testing.T) {
	counters := filepath.Join(t.TempDir(), "stat")
	awaitRest(t.Context(), counters)
	if err := os.WriteFile(counters, []byte("1 2 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitRest(t.Context(), counters)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	awaitRest(ctx, counters)
	if err := clearAway(ctx, filepath.Dir(counters), counters); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(counters); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestTransport(t *testing.T) {
	var steps []Progress
	o := options(t, &steps)
	var done []Measure
	o.Done = func(m Measure) { done = append(done, m) }
	list, err := Transport(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || len(done) != 3 {
		t.Fatalf("%d measures, %d were shown", len(list), len(done))
	}
	for _, m := range list {
		if m.Achieved <= 0 || m.Limit <= 0 || m.Ratio <= 0 || m.Frames <= 0 || m.CPU.Rest <= 0 || m.Memory[0].PeakAnonBytes <= 0 {
			t.Errorf("%+v", m)
		}
		n := uint64(min(64<<20, 512<<20) / m.FrameBytes)
		if len(m.Latency) != 2 || m.Latency[0].Load != LoadFull || m.Latency[0].Frames != n || m.Latency[1].Load != LoadHalf || m.Latency[1].P50NS <= 0 {
			t.Errorf("%s of %d frames: %+v", m.Name, n, m.Latency)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Transport(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestEncoding: the limit of each codec that is measured.
func TestEncoding(t *testing.T) {
	for _, codec := range codecs() {
		e, err := newEncoding(scene{"32 KiB", 128, 128, frames.Uint16}, codec, 2)
		if err != nil {
			t.Fatal(err)
		}
		e.least = time.Millisecond
		perSec, err := e.run(t.Context(), 100)
		if err != nil || perSec <= 0 || e.cpuPerGB <= 0 {
			t.Errorf("%s: %g bytes/s, %g s a GB, %v", codec, perSec, e.cpuPerGB, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.run(ctx, 100); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		e.close()
	}
}

func TestFFT(t *testing.T) {
	var steps []Progress
	m, err := options(t, &steps).fft(t.Context(), scene{"64×60", 60, 64, frames.Uint16})
	if err != nil || m.Achieved <= 0 || m.Limit <= 0 || m.Pairs != leastFFT || m.Frames != m.Achieved || m.CPU.Rest <= 0 || m.Memory[0].PeakAnonBytes <= 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestVerdict(t *testing.T) {
	disk := Measure{Name: diskName(large, false), FrameBytes: 8 << 20, Achieved: 1.6, Limit: 1.7, Ratio: 0.94, Frames: 190, CPU: &CPU{Acquire: 0.2, Rest: 0.1}}
	transport := Measure{Name: transportName(large.name), Frames: 2000}
	for _, c := range []struct {
		change func(disk, transport *Measure)
		bound  string
	}{
		{func(*Measure, *Measure) {}, "the disk is the limit"},
		{func(d, _ *Measure) { d.Ratio, d.Limit = 0.5, 3.2 }, "the disk alone would take 381"},
		{func(d, _ *Measure) { d.Ratio, d.Other = 0.5, &Limit{Ratio: 0.95} }, "the disk is the limit"},
		{func(d, _ *Measure) { d.Ratio, d.Limit, d.CPU.Writer = 0.5, 3.2, 0.8 }, "the processors are the limit, the disk alone would take 381"},
		{func(d, tr *Measure) { d.Ratio, d.Limit, tr.Frames = 0.5, 3.2, 200 }, "the way through the memory is the limit, the disk alone would take 381"},
	} {
		d, tr := disk, transport
		cpu := *disk.CPU
		d.CPU = &cpu
		c.change(&d, &tr)
		want := "2048×2048 uint16 holds up to 190 frames/s here, " + c.bound +
			"; a burst of 32 frames fits the budget of 256MiB at any rate, one of 64 at 380 frames/s."
		if got := Verdict([]Measure{tr, d}, 256<<20, 2); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Verdict([]Measure{disk}, 1, 2); got != "" {
		t.Errorf("a verdict without the transport: %q", got)
	}
}

func TestNames(t *testing.T) {
	if got := large.source("noise", 12.5); got != "sim:?width=2048&height=2048&dtype=uint16&fps=12.5&pattern=noise" {
		t.Error(got)
	}
	if got, want := compressName(large, config.Compress{Codec: "zstd", Level: 1}), "camera to disk, frames of 8 MiB, zstd:1"; got != want {
		t.Error(got)
	}
}

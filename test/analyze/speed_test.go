package analyze

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// core is the processor that the analyser and the transforms run on in turn; the one before feeds.
const core = 1

// passSeconds is about how long one side of a pair takes.
const passSeconds = 0.4

// sizes are those that a speed is promised for.
func sizes() []frames.Geometry {
	var gs []frames.Geometry
	for _, s := range [][2]int{{512, 512}, {1024, 1024}, {2048, 2048}, {2304, 4096}, {1200, 1920}} {
		gs = append(gs, frames.Geometry{Height: s[0], Width: s[1], Channels: 1, Dtype: frames.Uint16})
	}
	return gs
}

// BenchmarkProcess is the rate of the real analyser that transforms every frame it gets, previews, means, results and all,
// on one processor, in units of that of a transform alone on the same one: of the transform to coefficients as libraries
// do it (coefficients), of what the analyser needs of it (columns), and with the build tag fftw of FFTW's measured plan.
func BenchmarkProcess(b *testing.B) {
	for _, policy := range []link.Policy{link.Lossless, link.Latest} {
		for _, g := range sizes() {
			b.Run(fmt.Sprintf("%s/%dx%d", policy, g.Height, g.Width), func(b *testing.B) {
				f, slots := benchFeeder(b, policy, 1, g)
				p := f.start("analyze-0", []string{"taskset", "-c", strconv.Itoa(core)}, "--spectrum-of", "all", "--spectrum-workers", "1")
				defer f.drain()
				f.arm(slots, reserveOf(policy))
				alone(b, core-1)
				f.compare(b, p, g, slots)
			})
		}
	}
}

// benchFeeder makes a feeder whose slab no cache holds.
func benchFeeder(b *testing.B, policy link.Policy, members int, g frames.Geometry) (f *feeder, slots int) {
	b.Helper()
	return newFeeder(b, policy, members, g), 128 << 20 / g.FrameBytes()
}

func reserveOf(policy link.Policy) int {
	if policy == link.Latest {
		return 4
	}
	return 0
}

// alone has the calling thread run on one processor. The benchmark's other threads are not held to it.
func alone(b *testing.B, processor int) {
	b.Helper()
	var set unix.CPUSet
	set.Set(processor)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
}

func (f *feeder) compare(b *testing.B, p *os.Process, g frames.Geometry, slots int) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	columns, coefficients := transforms(b, f, g, slots)
	rate := measure(columns, 3)
	n := max(8, int(passSeconds*rate))
	f.rate(b, rate, n) // every path is warm
	var strict, plain, library pairs.Meter
	other := foreign(b, g)
	var cpu []float64
	process := func(context.Context) (float64, error) {
		before := processorTime(b, p.Pid)
		perSec, done := f.rate(b, rate, n)
		cpu = append(cpu, (processorTime(b, p.Pid)-before).Seconds()/float64(done))
		return perSec, nil
	}
	transform := func(one func(int)) pairs.Side {
		return func(context.Context) (float64, error) {
			alone(b, core)
			defer alone(b, core-1)
			return measure(one, n), nil
		}
	}
	for b.Loop() {
		_ = strict.Measure(b.Context(), process, transform(columns))
		_ = plain.Measure(b.Context(), process, transform(coefficients))
		if other != nil {
			_ = library.Measure(b.Context(), process, transform(func(int) { other() }))
		}
	}
	if other != nil {
		b.ReportMetric(library.Result().Ratio, "of-fftw")
		b.ReportMetric(library.Result().B, "fftw/s")
	}
	b.ReportMetric(strict.Result().Ratio, "of-columns")
	b.ReportMetric(plain.Result().Ratio, "of-coefficients")
	b.ReportMetric(strict.Result().A, "frames/s")
	b.ReportMetric(strict.Result().B, "columns/s")
	b.ReportMetric(plain.Result().B, "coefficients/s")
	b.ReportMetric(pairs.Median(cpu)*1e3, "cpu-ms/frame")
}

// measure is how often a second one can be done, of n times.
func measure(one func(int), n int) float64 {
	start := time.Now()
	for i := range n {
		one(i)
	}
	return float64(n) / time.Since(start).Seconds()
}

// transforms are the two yardsticks, of the frames in the slab.
func transforms(b *testing.B, f *feeder, g frames.Geometry, slots int) (columns, coefficients func(int)) {
	b.Helper()
	plan, err := fft.New(fft.Config{Rows: g.Height, Cols: g.Width})
	if err != nil {
		b.Fatal(err)
	}
	w := plan.NewWorkspace()
	size := g.Height * g.Width
	planes, dst := make([]float32, 128<<20/4/size*size), make([]complex64, g.Height*plan.Half()) // like the slab in no cache
	for i := range planes {
		planes[i] = float32(i * i % 1000)
	}
	return func(i int) {
			_, _ = w.LoadUint16(f.slab.Pixels(i%slots), 2*g.Width, 32768)
			w.Columns(func(int, []float32) {})
		}, func(i int) {
			at := i * size % len(planes)
			_, _ = w.LoadFloat32(planes[at:at+size], g.Width, 0)
			_ = w.Coefficients(dst)
		}
}

// rate has the analysers work on n frames, or for as long as those should take where they get the newest ones, of twice as
// many as they can do, and returns how many they have done a second, and in all.
func (f *feeder) rate(b *testing.B, perSec float64, n int) (achieved float64, done uint64) {
	b.Helper()
	start, before := time.Now(), f.released()
	if f.policy == link.Lossless {
		f.offer(n)
		f.settle()
	} else {
		tick := time.NewTicker(time.Duration(float64(time.Second) / perSec / 2))
		defer tick.Stop()
		for range 2 * n {
			<-tick.C
			f.offer(1)
		}
	}
	done = f.released() - before
	return float64(done) / time.Since(start).Seconds(), done
}

// processorTime is what a process has used.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	var t unix.Timespec
	// The kernel's number for the clock of another process, MAKE_PROCESS_CPUCLOCK in linux/posix-timers.h.
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkParallel is the rate of one and two workers, and of one and two analysers, on all processors.
func BenchmarkParallel(b *testing.B) {
	for _, policy := range []link.Policy{link.Lossless, link.Latest} {
		for _, c := range []struct{ members, workers int }{{1, 1}, {1, 2}, {2, 1}} {
			g := frames.Geometry{Height: 2048, Width: 2048, Channels: 1, Dtype: frames.Uint16}
			b.Run(fmt.Sprintf("%s/%d of %d", policy, c.members, c.workers), func(b *testing.B) {
				f, slots := benchFeeder(b, policy, c.members, g)
				for i := range c.members {
					f.start(fmt.Sprintf("analyze-%d", i), nil, "--spectrum-of", "all", "--spectrum-workers", strconv.Itoa(c.workers))
				}
				defer f.drain()
				f.arm(slots, reserveOf(policy))
				const perSec = 400
				f.rate(b, perSec, 50)
				var rates []float64
				for b.Loop() {
					r, _ := f.rate(b, perSec, 200)
					rates = append(rates, r)
				}
				b.ReportMetric(pairs.Median(rates), "frames/s")
			})
		}
	}
}

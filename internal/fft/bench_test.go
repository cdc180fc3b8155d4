package fft

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/sluicedaq/sluice/internal/pairs"
)

// sizes are those that a speed is promised for.
func sizes() [][2]int {
	return [][2]int{{512, 512}, {1024, 1024}, {2048, 2048}, {2304, 4096}, {1200, 1920}}
}

// own is one transform of this package, in one of two ways: "coefficients" goes from samples in float32 to complex
// numbers in C order, as other libraries do, "columns" from 16-bit pixels to the spectrum as the analyser takes it.
func own(b *testing.B, k *kernels, kind string, rows, cols int) func() {
	b.Helper()
	p, err := newPlan(Config{Rows: rows, Cols: cols}, k)
	if err != nil {
		b.Fatal(err)
	}
	w := p.NewWorkspace()
	if kind == "coefficients" {
		x, dst := noise(rows*cols, 1), make([]complex64, rows*p.Half())
		return func() {
			_, _ = w.LoadFloat32(x, cols, 0)
			_ = w.Coefficients(dst)
		}
	}
	pixels := make([]byte, 2*rows*cols)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range pixels {
		pixels[i] = byte(r.Uint32())
	}
	return func() {
		_, _ = w.LoadUint16(pixels, 2*cols, 32768)
		w.Columns(func(int, []float32) {})
	}
}

// compareTo reports the median of the ratios of the processor's time that f and a yardstick take: below 1 f is
// faster.
func compareTo(b *testing.B, f, yardstick func()) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f()
	yardstick()
	m := pairs.Meter{Clock: pairs.ThreadTime}
	for b.Loop() {
		m.Pair(f, yardstick)
	}
	r := m.Result()
	b.ReportMetric(r.Ratio, "ratio")
	b.ReportMetric(r.A*1e3, "own-ms")
	b.ReportMetric(r.B*1e3, "yardstick-ms")
}

// BenchmarkAgainstGonum is the speed of both kinds of inner loops in units of gonum's.
func BenchmarkAgainstGonum(b *testing.B) {
	for name, k := range both() {
		for _, size := range sizes() {
			b.Run(fmt.Sprintf("%s/%dx%d", name, size[0], size[1]), func(b *testing.B) {
				g, x := newGonum(size[0], size[1]), noise(size[0]*size[1], 1)
				compareTo(b, own(b, k, "coefficients", size[0], size[1]), func() { g.forward(x) })
			})
		}
	}
}

// BenchmarkTransform is what benchstat compares.
func BenchmarkTransform(b *testing.B) {
	for _, kind := range []string{"coefficients", "columns"} {
		for name, k := range both() {
			for _, size := range sizes() {
				b.Run(fmt.Sprintf("%s/%s/%dx%d", kind, name, size[0], size[1]), func(b *testing.B) {
					f := own(b, k, kind, size[0], size[1])
					b.SetBytes(int64(2 * size[0] * size[1]))
					for b.Loop() {
						f()
					}
				})
			}
		}
	}
}

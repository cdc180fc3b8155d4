package spectrum_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// compareTo reports the median of the ratios of the processor's time that f and a yardstick take.
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

// ring is frames of noise, one after the other, more than the caches hold.
func ring(g frames.Geometry) func() []byte {
	frame := g.FrameBytes()
	all := make([]byte, 128<<20/frame*frame)
	state := uint64(1)
	for i := range all {
		state = state*6364136223846793005 + 1442695040888963407
		all[i] = byte(state >> 56)
	}
	at := 0
	return func() []byte {
		at = (at + frame) % len(all)
		return all[at : at+frame]
	}
}

// BenchmarkMeansAgainstCopy is the time of a frame's means in units of that of copying such a frame.
func BenchmarkMeansAgainstCopy(b *testing.B) {
	for _, g := range []frames.Geometry{mono(2048, 2048, frames.Uint16), mono(2048, 2048, frames.Uint8), mono(512, 512, frames.Uint8)} {
		b.Run(fmt.Sprint(g), func(b *testing.B) {
			tiles, err := spectrum.NewTiles(g, 8, 8)
			if err != nil {
				b.Fatal(err)
			}
			next, to, dst := ring(g), ring(g), make([]float64, tiles.Values())
			compareTo(b, func() { _ = tiles.Means(dst, next()) }, func() { copy(to(), next()) })
		})
	}
}

// BenchmarkSpatialAgainstTransform is the time of all that is computed of a frame, its means included, in units of
// that of the transform alone.
func BenchmarkSpatialAgainstTransform(b *testing.B) {
	for _, size := range [][2]int{{512, 512}, {1024, 1024}, {2048, 2048}, {2304, 4096}, {1200, 1920}} {
		g := mono(size[0], size[1], frames.Uint16)
		b.Run(fmt.Sprint(g), func(b *testing.B) {
			tiles, err := spectrum.NewTiles(g, 8, 8)
			if err != nil {
				b.Fatal(err)
			}
			s, err := spectrum.NewSpatial(spectrum.SpatialConfig{
				Geometry: g, Window: spectrum.WindowHann, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes, Tiles: tiles,
			})
			if err != nil {
				b.Fatal(err)
			}
			plan, err := fft.New(fft.Config{Rows: g.Height, Cols: g.Width})
			if err != nil {
				b.Fatal(err)
			}
			next, means, w, r := ring(g), make([]float64, tiles.Values()), plan.NewWorkspace(), new(spectrum.SpatialSpectrum)
			compareTo(b, func() {
				_ = s.LoadMeans(means, next())
				s.ComputeTo(r)
			}, func() {
				_, _ = w.LoadUint16(next(), 2*g.Width, 32768)
				w.Columns(func(int, []float32) {})
			})
		})
	}
}

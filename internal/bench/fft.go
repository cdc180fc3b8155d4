package bench

import (
	"context"
	"runtime"
	"time"

	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// leastFFT is how many pairs are measured of a transform at least: they are short.
const leastFFT = 25

// FFT measures a frame's way to its spatial spectrum, against its transform alone, on one core.
func FFT(ctx context.Context, o Options) ([]Measure, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var list []Measure
	for _, s := range []scene{
		{"512×512", 512, 512, frames.Uint16}, {"1024×1024", 1024, 1024, frames.Uint16}, {"2048×2048", 2048, 2048, frames.Uint16},
		{"1200×1920", 1920, 1200, frames.Uint16}, {"2304×4096", 4096, 2304, frames.Uint16},
	} {
		if !o.wants(fftName(s)) {
			continue
		}
		m, err := o.fft(ctx, s)
		if err != nil {
			return nil, err
		}
		list = o.add(list, m)
	}
	return list, nil
}

func fftName(s scene) string { return "spatial spectrum, " + s.name + " on one core" }

func (o Options) fft(ctx context.Context, s scene) (Measure, error) {
	size := s.geometry().FrameBytes()
	m := Measure{Name: fftName(s), Unit: unitFrames, FrameBytes: size, LimitIs: "the transform of such a frame alone"}
	spatial, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: s.geometry(), Window: spectrum.WindowHann, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes,
	})
	if err != nil {
		return m, err
	}
	plan, err := fft.New(fft.Config{Rows: s.height, Cols: s.width})
	if err != nil {
		return m, err
	}
	space := plan.NewWorkspace()
	pixels := make([]byte, size)
	for i := range pixels {
		pixels[i] = byte(i * i >> 4)
	}
	var cpu []float64
	err = o.round(ctx, &m, max(leastFFT, o.Pairs),
		func(context.Context) (float64, error) {
			start, before := time.Now(), pairs.ThreadTime()
			if err := spatial.Load(pixels); err != nil {
				return 0, err
			}
			spatial.Compute()
			cpu = append(cpu, (pairs.ThreadTime() - before).Seconds())
			return 1 / time.Since(start).Seconds(), nil
		},
		func(context.Context) (float64, error) {
			start := time.Now()
			if _, err := space.LoadUint16(pixels, 2*s.width, 0); err != nil {
				return 0, err
			}
			space.Columns(func(int, []float32) {})
			return 1 / time.Since(start).Seconds(), nil
		},
	)
	m.CPU = &CPU{Rest: pairs.Median(cpu) / (float64(size) / gb)}
	m.Memory = []Memory{{Process: "planes and tables", PeakAnonBytes: spatial.Bytes()}}
	return m, err
}

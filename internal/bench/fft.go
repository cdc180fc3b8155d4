package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// leastFFT is how many pairs are measured of a transform at least: they are short.
const leastFFT = 25

// FFT measures a frame's way to its spatial spectrum, against its transform alone, on one core; and the same for the whole
// process of an analyser, in a run.
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
	if name := analyseName(large); o.wants(name) {
		m, err := o.analyse(ctx, large)
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
	alone, err := newTransform(s)
	if err != nil {
		return m, err
	}
	var cpu []float64
	err = o.round(ctx, &m, max(leastFFT, o.Pairs),
		func(context.Context) (float64, error) {
			start, before := time.Now(), pairs.ThreadTime()
			if err := spatial.Load(alone.pixels); err != nil {
				return 0, err
			}
			spatial.Compute()
			cpu = append(cpu, (pairs.ThreadTime() - before).Seconds())
			return 1 / time.Since(start).Seconds(), nil
		},
		func(context.Context) (float64, error) {
			start := time.Now()
			err := alone.run()
			return 1 / time.Since(start).Seconds(), err
		},
	)
	m.CPU = &CPU{Rest: pairs.Median(cpu) / (float64(size) / gb)}
	m.Memory = []Memory{{Process: "planes and tables", PeakAnonBytes: spatial.Bytes()}}
	return m, err
}

// transform is a frame's transform with nothing else.
type transform struct {
	pixels []byte
	width  int
	space  *fft.Workspace
}

func newTransform(s scene) (*transform, error) {
	plan, err := fft.New(fft.Config{Rows: s.height, Cols: s.width})
	if err != nil {
		return nil, err
	}
	t := &transform{pixels: make([]byte, s.geometry().FrameBytes()), width: s.width, space: plan.NewWorkspace()}
	for i := range t.pixels {
		t.pixels[i] = byte(i * i >> 4)
	}
	return t, nil
}

func (t *transform) run() error {
	_, err := t.space.LoadUint16(t.pixels, 2*t.width, 0)
	if err == nil {
		t.space.Columns(func(int, []float32) {})
	}
	return err
}

func analyseName(s scene) string {
	return fmt.Sprintf("analyse process, every %d×%d frame, one core", s.height, s.width)
}

// analyse measures how many frames a whole analyser transforms with a second of processor time, in a run where it gets
// every frame.
func (o Options) analyse(ctx context.Context, s scene) (Measure, error) {
	m := Measure{Name: analyseName(s), Unit: unitFrames, FrameBytes: s.geometry().FrameBytes(), LimitIs: "the transform of such a frame alone"}
	alone, err := newTransform(s)
	if err != nil {
		return m, err
	}
	p := o.pipeline(s, "counter", "--analyzers", "1", "--analyze-policy", "lossless", "--spectrum-of", "all", "--spectrum-workers", "1", "--spectrum-share", "1")
	n := int(max(1, o.Bytes/4/int64(m.FrameBytes)))
	var runs []account
	err = o.round(ctx, &m, o.Pairs,
		func(ctx context.Context) (float64, error) {
			a, err := p.run(ctx, n, 0)
			runs = append(runs, a)
			cpu := 0.0
			for _, p := range a.Processes {
				if part(p.Name) == analysePart {
					cpu += p.CPUSeconds()
				}
			}
			return float64(a.Analyzed) / cpu, err
		},
		func(context.Context) (float64, error) {
			before := pairs.ThreadTime()
			for range leastFFT {
				if err := alone.run(); err != nil {
					return 0, err
				}
			}
			return leastFFT / (pairs.ThreadTime() - before).Seconds(), nil
		},
	)
	if err != nil {
		return m, err
	}
	m.used(runs)
	return m, nil
}

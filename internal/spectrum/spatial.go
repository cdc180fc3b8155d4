package spectrum

import (
	"fmt"

	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The bounds and defaults of spatial spectra.
const (
	DefaultPeaks      = 10
	MaxPeaks          = 100
	DefaultPlaneBytes = 1 << 30
	MinPlaneBytes     = 1 << 14
)

// SpatialConfig says what a Spatial computes.
type SpatialConfig struct {
	Geometry frames.Geometry
	Window   Window
	// Peaks is how many peaks are looked for, 1 to MaxPeaks.
	Peaks int
	// MaxBytes bounds the memory of the planes and of what grows with them, about 5 bytes a pixel, at least
	// MinPlaneBytes. Of a frame that would need more, only the central region that fits is transformed; the
	// result says so.
	MaxBytes int64
}

// SpatialSpectrum is the power spectrum of one frame, with x[y,x] its samples (the mean of the planes in
// colour), m their mean, w the window, N = Height·Width and
//
//	X[ky,kx] = Σ w·(x−m)·exp(−2πi·(ky·y/Height + kx·x/Width))
//	P[ky,kx] = |X[ky,kx]|² / (N·Σw²)
//
// P is in counts². Parseval's identity: the sum of P over all N bins is Variance.
type SpatialSpectrum struct {
	// Y, X, Height and Width are the region that was transformed: the whole frame, unless it is too large.
	Y, X, Height, Width int
	Window              Window
	Mean                float64 // counts
	// Variance is Σ(w·(x−m))² / Σw², without a window the variance of the samples, in counts².
	Variance float64
	// Total is the sum of P, equal to Variance up to rounding.
	Total float64
	// RadialStep is the width of the bins of Radial, cycles/pixel. Bin i has the frequencies f = √(fy² + fx²)
	// with ⌊f/RadialStep + ½⌋ = i; Radial[i] is the mean of P over them and RadialCount[i] their number, so
	// that Σ Radial·RadialCount = Total. An empty bin has 0 in both.
	RadialStep  float64
	Radial      []float64
	RadialCount []int64
	Peaks       []Peak
	// Sharpness is the root mean square spatial frequency √(Σ f²·P / Σ P), cycles/pixel, 0 of a frame without
	// contrast. Σ f²·P is, by Parseval, the energy of the image's gradient: the focus measure M2 of
	// M. Subbarao, T. Choi, A. Nikzad, "Focusing techniques", Opt. Eng. 32(11), 2824 (1993); dividing it by
	// the variance makes it independent of brightness and contrast. Noise raises it.
	Sharpness float64
}

// Spatial computes spatial spectra of frames of one geometry. It is used by one goroutine at a time.
type Spatial struct {
	cfg    SpatialConfig
	region region
	plan   *fft.Plan
	work   *fft.Workspace
	strips []strip // the power, as the workspace hands it out
	gain   float64 // Σw
	energy float64 // Σw²
	fy, fx []float64
	radial radial
	pixels []byte // of a colour frame while it is loaded

	mean, variance float64 // of the frame
}

// strip is the power of eight columns: power[8·ky+j] is that of column j.
type strip struct {
	power []float32
	most  float32
}

// NewSpatial makes the plan and the buffers. The error wraps ErrConfig or frames.ErrGeometry.
func NewSpatial(cfg SpatialConfig) (*Spatial, error) {
	if err := cfg.Geometry.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.Window.Validate(); err != nil {
		return nil, err
	}
	if cfg.Peaks < 1 || cfg.Peaks > MaxPeaks {
		return nil, fmt.Errorf("%w: %d peaks: want 1 to %d", ErrConfig, cfg.Peaks, MaxPeaks)
	}
	if cfg.MaxBytes < MinPlaneBytes {
		return nil, fmt.Errorf("%w: %d bytes for the planes: want %d at least", ErrConfig, cfg.MaxBytes, MinPlaneBytes)
	}
	r := center(cfg.Geometry, func(height, width int) bool {
		n := fft.Bytes(height, width)
		return n > 0 && n+radialBytes(height, width) <= cfg.MaxBytes
	})
	wy, wx := cfg.Window.weights(r.height), cfg.Window.weights(r.width)
	sy, sy2 := sums(wy)
	sx, sx2 := sums(wx)
	for i := range wy {
		wy[i] /= float64(cfg.Geometry.Channels) // the planes are added up
	}
	plan, err := fft.New(fft.Config{Rows: r.height, Cols: r.width, WeightsY: wy, WeightsX: wx})
	if err != nil {
		return nil, fmt.Errorf("planning the transform: %w", err)
	}
	s := &Spatial{
		cfg:    cfg,
		region: r,
		plan:   plan,
		work:   plan.NewWorkspace(),
		gain:   sy * sx,
		energy: sy2 * sx2,
		fy:     frequencies(r.height, r.height),
		fx:     frequencies(r.width, r.width/2+1),
	}
	s.strips = make([]strip, (len(s.fx)+stripCols-1)/stripCols)
	s.radial = newRadial(s.fy, s.fx, r)
	return s, nil
}

// frequencies are those of the first m of n bins, cycles/pixel, signed; ½ is positive.
func frequencies(n, m int) []float64 {
	fs := make([]float64, m)
	for k := range fs {
		fs[k] = float64(signed(k, n)) / float64(n)
	}
	return fs
}

// signed is bin k of n as a number from −⌈n/2⌉+1 to ⌊n/2⌋.
func signed(k, n int) int {
	if k > n/2 {
		return k - n
	}
	return k
}

// Load takes a frame's samples over: its pixels are not needed after the return.
func (s *Spatial) Load(pixels []byte) error {
	g := s.cfg.Geometry
	if len(pixels) != g.FrameBytes() {
		return fmt.Errorf("%w: a frame of %d bytes, %s has %d", ErrSize, len(pixels), g, g.FrameBytes())
	}
	n := s.region.height * s.region.width * g.Channels
	return s.load(pixels, float64(sumOf(g, s.region, pixels))/float64(n))
}

// LoadKnown is Load for a frame whose mean is known, from [Tiles.Means]: it reads the pixels once less.
func (s *Spatial) LoadKnown(pixels []byte, mean float64) error {
	g := s.cfg.Geometry
	if len(pixels) != g.FrameBytes() || s.region.height*s.region.width != g.Height*g.Width {
		return s.Load(pixels)
	}
	return s.load(pixels, mean)
}

func (s *Spatial) load(pixels []byte, mean float64) error {
	g, r := s.cfg.Geometry, s.region
	stride := g.Width * g.Dtype.Size()
	first := pixels[r.y*stride+r.x*g.Dtype.Size():]
	var energy float64
	var err error
	switch {
	case g.Channels > 1:
		s.pixels = pixels
		energy = s.work.LoadRows(s.readRow, mean*float64(g.Channels))
		s.pixels = nil
	case g.Dtype == frames.Uint16:
		energy, err = s.work.LoadUint16(first, stride, mean)
	default:
		energy, err = s.work.LoadUint8(first, stride, mean)
	}
	if err != nil {
		return fmt.Errorf("loading a frame: %w", err)
	}
	s.mean, s.variance = mean, energy/s.energy
	return nil
}

func (s *Spatial) readRow(y int, row []float32) {
	addPlanes(row, s.cfg.Geometry, s.region, y, s.pixels)
}

// Compute is the spectrum of the frame loaded last, which must be loaded again before the next Compute.
func (s *Spatial) Compute() *SpatialSpectrum {
	r := &SpatialSpectrum{
		Y: s.region.y, X: s.region.x, Height: s.region.height, Width: s.region.width,
		Window: s.cfg.Window, Mean: s.mean, Variance: s.variance,
	}
	s.radial.reset()
	s.work.Power(s.takeStrip)
	s.radial.result(r, s.norm())
	r.Peaks = s.peaks(r.Total)
	return r
}

// takeStrip takes the power of eight columns while it is in the caches.
func (s *Spatial) takeStrip(kx int, power []float32) {
	s.strips[kx/stripCols] = strip{power: power, most: s.radial.add(kx, power)}
}

// norm is what |X|² is multiplied with to make P.
func (s *Spatial) norm() float64 { return 1 / (float64(s.region.height*s.region.width) * s.energy) }

// doubled says whether bin kx stands for −kx too.
func (s *Spatial) doubled(kx int) bool { return kx > 0 && 2*kx != s.region.width }

// Bytes is the memory that the planes, the plan and the tables hold.
func (s *Spatial) Bytes() int64 {
	return s.plan.Bytes() + fft.Bytes(s.region.height, s.region.width) + s.radial.bytes() + sizeOf(s.strips) + sizeOf(s.fy) + sizeOf(s.fx)
}

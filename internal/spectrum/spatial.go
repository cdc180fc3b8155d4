package spectrum

import (
	"fmt"
	"math"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// The bounds and defaults of spatial spectra.
const (
	DefaultPeaks      = 10
	MaxPeaks          = 100
	DefaultPlaneBytes = 1 << 30
)

// SpatialConfig says what a Spatial computes.
type SpatialConfig struct {
	Geometry frames.Geometry
	Window   Window
	// Peaks is how many peaks are looked for, 1 to MaxPeaks.
	Peaks int
	// MaxBytes bounds the planes' memory, 8 bytes a pixel. Of a frame that would need more, only the central
	// region that fits is transformed; the result says so.
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
	plan   Plan2D
	plane  []float32
	coeff  []complex64
	wy, wx []float64
	gain   float64 // Σw
	energy float64 // Σw²
	fy, fx []float64
	counts []int64 // members of each radial bin
	// perStep is 1 / the radial bins' width.
	perStep float64

	mean, variance float64 // of the plane
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
	if cfg.MaxBytes < 1024 {
		return nil, fmt.Errorf("%w: %d bytes for the planes: want 1024 at least", ErrConfig, cfg.MaxBytes)
	}
	r := center(cfg.Geometry, int(cfg.MaxBytes/8))
	plan, err := NewPlan2D(r.height, r.width)
	if err != nil {
		return nil, err
	}
	s := &Spatial{
		cfg:    cfg,
		region: r,
		plan:   plan,
		plane:  make([]float32, r.height*r.width),
		coeff:  make([]complex64, r.height*(r.width/2+1)),
		wy:     cfg.Window.weights(r.height),
		wx:     cfg.Window.weights(r.width),
		fy:     frequencies(r.height, r.height),
		fx:     frequencies(r.width, r.width/2+1),
	}
	sy, sy2 := sums(s.wy)
	sx, sx2 := sums(s.wx)
	s.gain, s.energy = sy*sx, sy2*sx2
	s.countRadial()
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
	sum := load(s.plane, g, s.region, pixels)
	n := float64(len(s.plane))
	s.mean = float64(sum) / n / float64(g.Channels)
	total := 0.0
	for y := range s.region.height {
		row := s.plane[y*s.region.width : (y+1)*s.region.width]
		total += center1(row, s.wx, s.mean*float64(g.Channels), s.wy[y]/float64(g.Channels))
	}
	s.variance = total / s.energy
	return nil
}

// center1 subtracts mean from a row, applies the window and returns the sum of the squares.
func center1(row []float32, wx []float64, mean, wy float64) float64 {
	wx = wx[:len(row)]
	total := 0.0
	for i, v := range row {
		u := float32((float64(v) - mean) * wy * wx[i])
		row[i] = u
		total += float64(u) * float64(u)
	}
	return total
}

// Compute is the spectrum of the frame loaded last, which must be loaded again before the next Compute.
func (s *Spatial) Compute() (*SpatialSpectrum, error) {
	if err := s.plan.Forward(s.coeff, s.plane); err != nil {
		return nil, fmt.Errorf("transforming a frame: %w", err)
	}
	r := &SpatialSpectrum{
		Y: s.region.y, X: s.region.x, Height: s.region.height, Width: s.region.width,
		Window: s.cfg.Window, Mean: s.mean, Variance: s.variance,
	}
	s.sumRadial(r)
	r.Peaks = s.peaks(r.Total)
	return r, nil
}

// norm is what |X|² is multiplied with to make P.
func (s *Spatial) norm() float64 { return 1 / (float64(len(s.plane)) * s.energy) }

// doubled says whether bin kx stands for −kx too.
func (s *Spatial) doubled(kx int) bool { return kx > 0 && 2*kx != s.region.width }

func power(c complex64) float64 {
	re, im := float64(real(c)), float64(imag(c))
	return re*re + im*im
}

// Bytes is the memory that the planes, the plan and the tables hold.
func (s *Spatial) Bytes() int64 {
	return s.plan.Bytes() + sizeOf(s.plane) + sizeOf(s.coeff) + sizeOf(s.counts) +
		sizeOf(s.wy) + sizeOf(s.wx) + sizeOf(s.fy) + sizeOf(s.fx)
}

// sharpness is the root mean square frequency of a moment Σ f²·P and a total Σ P.
func sharpness(moment, total float64) float64 {
	if total <= 0 {
		return 0
	}
	return math.Sqrt(moment / total)
}

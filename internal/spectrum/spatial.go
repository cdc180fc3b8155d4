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
	// Tiles are those whose means LoadMeans computes, of the same geometry; nil stands for one.
	Tiles *Tiles
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
	tiles  *Tiles
	sums   tileSums
	planes []byte  // the frame's, while it is loaded
	gain   float64 // Σw
	energy float64 // Σw²
	fy, fx []float64
	radial radial
	// ends are the transforms of the window along y and x where they are not zero: at 0, 1 and −1.
	endsY, endsX [2]float64

	// power is that of the strip at hand and of the two before it, most the greatest in each.
	power [3][]float32
	most  [3]float32
	found []Peak

	mean, shift, energyIn float64 // of the frame: what was taken off too much, the sum of the squares of what was left
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
	endsY, endsX := cfg.Window.ends(wy), cfg.Window.ends(wx)
	for i := range wy {
		wy[i] /= float64(cfg.Geometry.Channels) // the planes are added up
	}
	tiles := cfg.Tiles
	if tiles == nil {
		tiles = &Tiles{geometry: cfg.Geometry, ys: bounds(cfg.Geometry.Height, 1), xs: bounds(cfg.Geometry.Width, 1), sum: sumFunc(cfg.Geometry.Dtype)}
	} else if tiles.geometry != cfg.Geometry {
		return nil, fmt.Errorf("%w: tiles of %s for frames of %s", ErrConfig, tiles.geometry, cfg.Geometry)
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
		tiles:  tiles,
		gain:   sy * sx,
		energy: sy2 * sx2,
		fy:     frequencies(r.height, r.height),
		fx:     frequencies(r.width, r.width/2+1),
		endsY:  endsY,
		endsX:  endsX,
	}
	s.makeBuffers()
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
func (s *Spatial) Load(pixels []byte) error { return s.LoadMeans(nil, pixels) }

// LoadMeans is Load, and writes the means of the configuration's tiles to means as [Tiles.Means] does, unless it is nil: the
// pixels are read once for both.
func (s *Spatial) LoadMeans(means []float64, pixels []byte) error {
	g, r := s.cfg.Geometry, s.region
	if len(pixels) != g.FrameBytes() || means != nil && len(means) != s.tiles.Values() {
		return fmt.Errorf("%w: a frame of %d bytes, %s has %d; means for %d values, of %d",
			ErrSize, len(pixels), g, g.FrameBytes(), len(means), s.tiles.Values())
	}
	if g.Channels == 1 && r.height == g.Height && r.width == g.Width {
		return s.loadWhole(means, pixels)
	}
	if means != nil {
		if err := s.tiles.Means(means, pixels); err != nil {
			return err
		}
	}
	s.mean, s.shift = float64(sumOf(g, r, pixels))/float64(r.height*r.width*g.Channels), 0
	return s.load(pixels, s.mean)
}

// loadWhole loads a frame of one plane. Its mean is known when all of it has been read: what is taken off its samples
// before is close to it, and correct takes the difference off their transform.
func (s *Spatial) loadWhole(means []float64, pixels []byte) error {
	guess := s.tiles.guess(pixels)
	s.sums, s.planes = tileSums{}, pixels
	s.work.BeforeRows(s.addTiles)
	err := s.load(pixels, guess)
	s.work.BeforeRows(nil)
	s.planes = nil
	s.mean = s.tiles.total(&s.sums)
	s.shift = s.mean - guess
	if means != nil {
		s.tiles.means(means, &s.sums)
	}
	return err
}

func (s *Spatial) addTiles(y, n int) { s.tiles.add(&s.sums, s.planes, y, n) }

func (s *Spatial) load(pixels []byte, mean float64) error {
	g, r := s.cfg.Geometry, s.region
	stride := g.Width * g.Dtype.Size()
	first := pixels[r.y*stride+r.x*g.Dtype.Size():]
	var err error
	switch {
	case g.Channels > 1:
		s.planes = pixels
		s.energyIn = s.work.LoadRows(s.readRow, mean*float64(g.Channels))
		s.planes = nil
	case g.Dtype == frames.Uint16:
		s.energyIn, err = s.work.LoadUint16(first, stride, mean)
	default:
		s.energyIn, err = s.work.LoadUint8(first, stride, mean)
	}
	if err != nil {
		return fmt.Errorf("loading a frame: %w", err)
	}
	return nil
}

func (s *Spatial) readRow(y int, row []float32) {
	addPlanes(row, s.cfg.Geometry, s.region, y, s.planes)
}

// Compute is the spectrum of the frame loaded last, which must be loaded again before the next Compute.
func (s *Spatial) Compute() *SpatialSpectrum {
	r := new(SpatialSpectrum)
	s.ComputeTo(r)
	return r
}

// ComputeTo is Compute into a spectrum whose memory is used again.
func (s *Spatial) ComputeTo(r *SpatialSpectrum) {
	r.Y, r.X, r.Height, r.Width = s.region.y, s.region.x, s.region.height, s.region.width
	r.Window, r.Mean = s.cfg.Window, s.mean
	s.radial.reset()
	s.found = s.found[:0]
	s.work.Columns(s.takeStrip)
	s.search((len(s.fx) - 1) / stripCols)
	r.Variance = s.energyIn / s.energy
	s.radial.result(r, s.norm())
	r.Peaks = s.peaks(r.Peaks[:0], r.Total)
}

// takeStrip takes the transform of eight columns while it is in the caches.
func (s *Spatial) takeStrip(kx int, lines []float32) {
	n := kx / stripCols
	if n == 0 && s.shift != 0 {
		s.correct(lines)
	}
	s.most[n%3] = s.radial.add(kx, lines, s.power[n%3])
	if n > 0 {
		s.search(n - 1)
	}
}

// correct makes the transform of w·(x−m) and its energy of those of w·(x−m+d), with d the shift: the window's transform W
// is zero but at 0, 1 and −1 along each axis, so
//
//	X −= d·W        Σw²(x−m)² = Σw²(x−m+d)² − 2d·Σw²(x−m+d) + d²·Σw²        Σw²(x−m+d) = Σ W·X / N
func (s *Spatial) correct(lines []float32) {
	h, w := s.region.height, s.region.width
	dot := 0.0
	for dy := -1; dy <= 1; dy++ {
		for kx := range 2 {
			weight := s.endsY[dy&1] * s.endsX[kx]
			if weight == 0 {
				continue
			}
			at := &lines[2*stripCols*((h+dy)%h)+kx]
			x := float64(*at)
			dot += weight * x
			if kx == 1 {
				dot += weight * x // and −1
			}
			*at = float32(x - s.shift*weight)
		}
	}
	s.energyIn = max(0, s.energyIn-2*s.shift*dot/float64(h*w)+s.shift*s.shift*s.energy)
}

// norm is what |X|² is multiplied with to make P.
func (s *Spatial) norm() float64 { return 1 / (float64(s.region.height*s.region.width) * s.energy) }

// doubled says whether bin kx stands for −kx too.
func (s *Spatial) doubled(kx int) bool { return kx > 0 && 2*kx != s.region.width }

// Region is the height and the width of what is transformed of a frame.
func (s *Spatial) Region() (height, width int) { return s.region.height, s.region.width }

// Another makes a Spatial of the same configuration, with buffers of its own: both may be used at the same time.
func (s *Spatial) Another() *Spatial {
	t := *s
	t.work = s.plan.NewWorkspace()
	t.radial.sums = make([][stripCols]float64, len(s.radial.sums))
	t.makeBuffers()
	return &t
}

func (s *Spatial) makeBuffers() {
	s.found = make([]Peak, 0, s.cfg.Peaks+1)
	for i := range s.power {
		s.power[i] = make([]float32, stripCols*s.region.height)
	}
}

// Bytes is the memory that the planes, the plan and the tables hold.
func (s *Spatial) Bytes() int64 {
	return s.plan.Bytes() + s.radial.bytes() + sizeOf(s.fy) + sizeOf(s.fx) + s.OwnBytes()
}

// OwnBytes is that part of Bytes which Another takes too: about 4 bytes a pixel.
func (s *Spatial) OwnBytes() int64 {
	return fft.Bytes(s.region.height, s.region.width) + 3*sizeOf(s.power[0]) + sizeOf(s.radial.sums)
}

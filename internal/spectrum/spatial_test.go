package spectrum_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestWaveHasItsPeakAtExactlyItsBin(t *testing.T) {
	g := mono(512, 512, frames.Uint16)
	for _, w := range []spectrum.Window{spectrum.WindowNone, spectrum.WindowHann} {
		for _, c := range []struct{ ky, kx, wantKY, wantKX int }{{5, 12, 5, 12}, {-5, 12, -5, 12}, {5, -12, -5, 12}, {7, 0, 7, 0}, {-7, 0, 7, 0}} {
			r := spatial(t, g, w, wave(g, 1000, 0, 0, 0, 0.3, c.ky, c.kx))
			p := r.Peaks[0]
			if p.KY != c.wantKY || p.KX != c.wantKX {
				t.Errorf("%s (%d, %d): peak at (%d, %d)", w, c.ky, c.kx, p.KY, p.KX)
			}
			near(t, "amplitude", p.Amplitude, 300, 1e-3, 300)
			if p.FY != float64(c.wantKY)/512 || p.FX != float64(c.wantKX)/512 {
				t.Errorf("%s: peak at (%v, %v) cycles/pixel", w, p.FY, p.FX)
			}
			near(t, "mean", r.Mean, 1000, 1e-4, 1000)
		}
	}
}

// TestParseval checks that the power of all bins is the variance of the windowed samples, computed here
// from its definition.
func TestParseval(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(64, 64, frames.Uint16), mono(33, 47, frames.Uint8), mono(1, 100, frames.Uint8), mono(101, 2, frames.Uint16),
		mono(2, 2, frames.Uint8), {Height: 31, Width: 18, Channels: 3, Dtype: frames.Uint16},
	} {
		r := rand.New(rand.NewPCG(3, uint64(g.FrameBytes())))
		samples := make([]float64, g.Height*g.Width*g.Channels)
		for i := range samples {
			samples[i] = float64(r.IntN(1 << (8 * g.Dtype.Size())))
		}
		plain := spatial(t, g, spectrum.WindowNone, encode(g, samples))
		mean, variance := moments(g, samples)
		near(t, g.String()+" mean", plain.Mean, mean, 1e-12, mean)
		near(t, g.String()+" variance", plain.Variance, variance, 1e-6, variance)
		for _, s := range []*spectrum.SpatialSpectrum{plain, spatial(t, g, spectrum.WindowHann, encode(g, samples))} {
			near(t, fmt.Sprintf("%s %s total", g, s.Window), s.Total, s.Variance, 1e-6, s.Variance)
			total, count := 0.0, int64(0)
			for i, p := range s.Radial {
				total += p * float64(s.RadialCount[i])
				count += s.RadialCount[i]
			}
			near(t, fmt.Sprintf("%s %s radial sum", g, s.Window), total, s.Total, 1e-12, s.Total)
			if count != int64(g.Height*g.Width) {
				t.Errorf("%s: the radial bins have %d members, want %d", g, count, g.Height*g.Width)
			}
		}
	}
}

// moments are the mean and the variance of the mean of the planes.
func moments(g frames.Geometry, samples []float64) (mean, variance float64) {
	n := g.Height * g.Width
	plane := make([]float64, n)
	for i, v := range samples {
		plane[i%n] += v / float64(g.Channels)
	}
	for _, v := range plane {
		mean += v / float64(n)
	}
	for _, v := range plane {
		variance += (v - mean) * (v - mean) / float64(n)
	}
	return mean, variance
}

// TestConstantFramesHaveNoPeaks: nothing of the mean leaks into other frequencies, also of the brightest frame and of one
// whose planes differ, frame after frame.
func TestConstantFramesHaveNoPeaks(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(1, 1, frames.Uint8), mono(1, 2, frames.Uint16), mono(3, 3, frames.Uint16), mono(40, 7, frames.Uint8), mono(300, 400, frames.Uint16),
		{Height: 90, Width: 62, Channels: 3, Dtype: frames.Uint16}, {Height: 31, Width: 18, Channels: 3, Dtype: frames.Uint8},
	} {
		s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowHann, Peaks: 10, MaxBytes: 1 << 24})
		if err != nil {
			t.Fatal(err)
		}
		top := float64(int(1)<<(8*g.Dtype.Size()) - 1)
		for _, value := range []float64{77, top, 0, top} {
			samples, n := make([]float64, g.Height*g.Width*g.Channels), g.Height*g.Width
			mean := 0.0
			for i := range samples {
				samples[i] = max(0, value-float64(i/n))
				mean += samples[i]
			}
			mean /= float64(len(samples))
			if err := s.Load(encode(g, samples)); err != nil {
				t.Fatal(err)
			}
			r := s.Compute()
			near(t, g.String()+" mean", r.Mean, mean, 1e-12, mean)
			if r.Variance != 0 || r.Total != 0 || r.Sharpness != 0 || len(r.Peaks) != 0 {
				t.Errorf("%s of %v: variance %v, total %v, sharpness %v, peaks %v", g, value, r.Variance, r.Total, r.Sharpness, r.Peaks)
			}
		}
	}
}

func TestSharpnessFallsWithBlur(t *testing.T) {
	g := mono(128, 128, frames.Uint16)
	r := rand.New(rand.NewPCG(5, 5))
	img := make([]float64, g.Height*g.Width)
	for i := range img {
		img[i] = float64(r.IntN(4000))
	}
	last := 1.0
	for blur := range 4 {
		s := spatial(t, g, spectrum.WindowNone, encode(g, img)).Sharpness
		if s >= last || s <= 0 {
			t.Errorf("blurred %d times: sharpness %v after %v", blur, s, last)
		}
		last = s
		next := make([]float64, len(img))
		for i := range img {
			y, x := i/128, i%128
			for d := range 9 {
				next[i] += img[(y+d/3+127)%128*128+(x+d%3+127)%128] / 9
			}
		}
		img = next
	}
	// White noise has the mean square frequency of the whole square, (1/12 + 1/12).
	white := spatial(t, g, spectrum.WindowNone, encode(g, whiteNoise(g, r))).Sharpness
	near(t, "white noise", white, math.Sqrt(1.0/6), 0.02, white)
}

func whiteNoise(g frames.Geometry, r *rand.Rand) []float64 {
	xs := make([]float64, g.Height*g.Width)
	for i := range xs {
		xs[i] = float64(r.IntN(4000))
	}
	return xs
}

func TestLargeFramesAreAnalysedInTheMiddle(t *testing.T) {
	g := mono(300, 400, frames.Uint8)
	s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowNone, Peaks: 3, MaxBytes: 5 * 200 * 150})
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]float64, g.Height*g.Width) // bright but for the middle
	for i := range samples {
		if y, x := i/400, i%400; y < 75 || y >= 225 || x < 100 || x >= 300 {
			samples[i] = 255
		}
	}
	if err := s.Load(encode(g, samples)); err != nil {
		t.Fatal(err)
	}
	r := s.Compute()
	if r.Height*r.Width > 200*150 || r.Height < 120 || r.Width < 160 {
		t.Errorf("a region of %d x %d", r.Height, r.Width)
	}
	if r.Y != (300-r.Height)/2 || r.X != (400-r.Width)/2 || r.Mean != 0 {
		t.Errorf("region at (%d, %d) with mean %v", r.Y, r.X, r.Mean)
	}
	if s.Bytes() > 5*200*150+100_000 {
		t.Errorf("%d bytes for planes of %d", s.Bytes(), 5*200*150)
	}
}

// TestFramesOfOneLine: what is very long and thin is cut too, and what can hold one pixel only holds that.
func TestFramesOfOneLine(t *testing.T) {
	for _, g := range []frames.Geometry{mono(1, 1_100_000, frames.Uint8), mono(60_000, 1, frames.Uint8), mono(20_000, 3, frames.Uint16)} {
		for _, most := range []int64{spectrum.DefaultPlaneBytes, spectrum.MinPlaneBytes} {
			s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowHann, Peaks: 3, MaxBytes: most})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Load(make([]byte, g.FrameBytes())); err != nil {
				t.Fatal(err)
			}
			if r := s.Compute(); r.Total != 0 || r.Height > g.Height || r.Width > g.Width || s.Bytes() > most+most/4+(1<<15) {
				t.Errorf("%s: a region of %d x %d in %d bytes", g, r.Height, r.Width, s.Bytes())
			}
		}
	}
}

func TestSpatialRefusesNonsense(t *testing.T) {
	good := spectrum.SpatialConfig{Geometry: mono(4, 4, frames.Uint8), Window: spectrum.WindowHann, Peaks: 1, MaxBytes: 1 << 20}
	for name, change := range map[string]func(*spectrum.SpatialConfig){
		"window":   func(c *spectrum.SpatialConfig) { c.Window = "kaiser" },
		"peaks":    func(c *spectrum.SpatialConfig) { c.Peaks = 0 },
		"memory":   func(c *spectrum.SpatialConfig) { c.MaxBytes = 10 },
		"geometry": func(c *spectrum.SpatialConfig) { c.Geometry.Height = 0 },
	} {
		c := good
		change(&c)
		if _, err := spectrum.NewSpatial(c); !errors.Is(err, spectrum.ErrConfig) && !errors.Is(err, frames.ErrGeometry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := spectrum.NewSpatial(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(make([]byte, 15)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("a short frame: %v", err)
	}
}

// TestKnownMean: with the mean of the frame at hand the result is the same to the last bit, and with that of another
// region than the one that is transformed too.
// TestMeansOfALoad: the means are those of the tiles, the spectrum is the same with and without them.
func TestMeansOfALoad(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(60, 80, frames.Uint16), mono(61, 33, frames.Uint8), mono(3, 200, frames.Uint16),
		{Height: 33, Width: 47, Channels: 3, Dtype: frames.Uint8},
	} {
		for _, most := range []int64{1 << 20, spectrum.MinPlaneBytes} {
			samples := make([]float64, g.Height*g.Width*g.Channels)
			r := rand.New(rand.NewPCG(7, 7))
			for i := range samples {
				samples[i] = float64(r.IntN(250))
			}
			pixels := encode(g, samples)
			tiles, err := spectrum.NewTiles(g, 5, 3)
			if err != nil {
				t.Fatal(err)
			}
			means, want := make([]float64, tiles.Values()), make([]float64, tiles.Values())
			if err := tiles.Means(want, pixels); err != nil {
				t.Fatal(err)
			}
			s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowHann, Peaks: 3, MaxBytes: most, Tiles: tiles})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Load(pixels); err != nil {
				t.Fatal(err)
			}
			plain := s.Compute()
			if err := s.LoadMeans(means, pixels); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain, s.Compute()); diff != "" {
				t.Errorf("%s in %d bytes: %s", g, most, diff)
			}
			if !slices.Equal(means, want) {
				t.Errorf("%s: means %v, want %v", g, means, want)
			}
			if err := s.LoadMeans(means, pixels[1:]); !errors.Is(err, spectrum.ErrSize) {
				t.Errorf("a short frame: %v", err)
			}
			if err := s.LoadMeans(means[1:], pixels); !errors.Is(err, spectrum.ErrSize) {
				t.Errorf("too few means: %v", err)
			}
		}
	}
	other, err := spectrum.NewTiles(mono(60, 81, frames.Uint16), 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: mono(60, 80, frames.Uint16), Window: spectrum.WindowHann, Peaks: 3, MaxBytes: 1 << 20, Tiles: other,
	}); !errors.Is(err, spectrum.ErrConfig) {
		t.Errorf("tiles of another geometry: %v", err)
	}
}

// TestAnyFrameAnySize compares with the definition in float64: frames at the ends of their range, with rows that mislead
// whoever looks at a few of them, of sizes with and without large prime factors.
func TestAnyFrameAnySize(t *testing.T) {
	frame := map[string]func(r *rand.Rand, top, y, x int) int{
		"noise":       func(r *rand.Rand, top, _, _ int) int { return r.IntN(top + 1) },
		"every 16th":  func(r *rand.Rand, top, y, _ int) int { return max(0, top*((16-y%16)/16)-r.IntN(7)) },
		"all but":     func(r *rand.Rand, top, y, _ int) int { return max(0, top*((y%16+15)/16)-r.IntN(7)) },
		"nearly full": func(r *rand.Rand, top, _, _ int) int { return top - r.IntN(2) },
	}
	for _, size := range [][2]int{{48, 64}, {37, 53}, {1, 97}, {101, 1}, {64, 2}, {2, 64}, {33, 30}, {34, 59}} {
		for _, d := range []frames.Dtype{frames.Uint8, frames.Uint16} {
			g := mono(size[0], size[1], d)
			for _, w := range []spectrum.Window{spectrum.WindowNone, spectrum.WindowHann} {
				for name, f := range frame {
					r := rand.New(rand.NewPCG(9, 9))
					samples := make([]float64, g.Height*g.Width)
					for i := range samples {
						samples[i] = float64(f(r, 1<<(8*d.Size())-1, i/g.Width, i%g.Width))
					}
					checkDefinition(t, fmt.Sprintf("%s %s %s", g, w, name), spatial(t, g, w, encode(g, samples)), samples)
				}
			}
		}
	}
}

// checkDefinition holds a spectrum against its definition.
func checkDefinition(t *testing.T, name string, got *spectrum.SpatialSpectrum, samples []float64) {
	t.Helper()
	h, w := got.Height, got.Width
	weigh := func(n, j int) float64 {
		if got.Window == spectrum.WindowNone || n < 3 {
			return 1
		}
		return (1 - math.Cos(2*math.Pi*float64(j)/float64(n))) / 2
	}
	mean, energy := 0.0, 0.0
	for _, v := range samples {
		mean += v / float64(h*w)
	}
	x, sum := make([]float64, h*w), 0.0
	for i, v := range samples {
		weight := weigh(h, i/w) * weigh(w, i%w)
		x[i] = weight * (v - mean)
		energy += weight * weight
		sum += x[i] * x[i]
	}
	total, moment, largest := 0.0, 0.0, 0.0
	radial := make([]float64, len(got.Radial))
	for i, c := range naive2D(x, h, w) {
		ky, kx := i/(w/2+1), i%(w/2+1)
		p := (real(c)*real(c) + imag(c)*imag(c)) / (float64(h*w) * energy)
		if kx > 0 && 2*kx != w {
			p *= 2
		}
		if 2*ky > h {
			ky -= h
		}
		fy, fx := float64(ky)/float64(h), float64(kx)/float64(w)
		f := math.Sqrt(fy*fy + fx*fx)
		total += p
		moment += f * f * p
		radial[int(f*math.Round(1/got.RadialStep)+0.5)] += p
	}
	near(t, name+" mean", got.Mean, mean, 1e-12, mean)
	near(t, name+" variance", got.Variance, sum/energy, 1e-5, sum/energy)
	near(t, name+" total", got.Total, total, 1e-5, total)
	if total > 0 {
		near(t, name+" sharpness", got.Sharpness, math.Sqrt(moment/total), 1e-5, math.Sqrt(moment/total))
	}
	for _, p := range radial {
		largest = max(largest, p)
	}
	for i, p := range radial {
		// Of amplitudes 1e-5 of the largest or of their own; a ring's power is the square.
		near(t, fmt.Sprintf("%s ring %d", name, i), got.Radial[i]*float64(got.RadialCount[i]), p, 1e-5, math.Sqrt(p*largest)+1e-5*largest)
	}
}

func BenchmarkSpatial(b *testing.B) {
	for _, g := range []frames.Geometry{mono(512, 512, frames.Uint16), mono(2048, 2048, frames.Uint16), mono(1200, 1920, frames.Uint8)} {
		b.Run(fmt.Sprint(g), func(b *testing.B) {
			s, err := spectrum.NewSpatial(spectrum.SpatialConfig{
				Geometry: g, Window: spectrum.WindowHann, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes,
			})
			if err != nil {
				b.Fatal(err)
			}
			pixels := encode(g, whiteNoise(g, rand.New(rand.NewPCG(1, 1))))
			b.SetBytes(int64(len(pixels)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Load(pixels); err != nil {
					b.Fatal(err)
				}
				s.Compute()
			}
		})
	}
}

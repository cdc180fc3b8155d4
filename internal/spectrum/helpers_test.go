package spectrum_test

import (
	"encoding/binary"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// near fails the test when got differs from want by more than rel times scale.
func near(t *testing.T, what string, got, want, rel, scale float64) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= rel*math.Abs(scale)) {
		t.Errorf("%s: got %.12g, want %.12g: off by %.3g of %.6g", what, got, want, d/math.Abs(scale), scale)
	}
}

// naive2D is the transform by its definition, in float64: X[ky,kx] for kx up to w/2.
func naive2D(x []float64, h, w int) []complex128 {
	half := w/2 + 1
	rows := make([]complex128, h*half)
	for y := range h {
		for k := range half {
			for j := range w {
				rows[y*half+k] += complex(x[y*w+j], 0) * unit(k*j, w)
			}
		}
	}
	out := make([]complex128, h*half)
	for k := range h {
		for c := range half {
			for j := range h {
				out[k*half+c] += rows[j*half+c] * unit(k*j, h)
			}
		}
	}
	return out
}

func unit(i, n int) complex128 { return cmplx.Rect(1, -2*math.Pi*float64(i%n)/float64(n)) }

func noise(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = r.NormFloat64()
	}
	return xs
}

// encode lays samples out as a frame's bytes.
func encode(g frames.Geometry, samples []float64) []byte {
	b := make([]byte, 0, g.FrameBytes())
	for _, v := range samples {
		if g.Dtype == frames.Uint16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		} else {
			b = append(b, uint8(v))
		}
	}
	return b
}

// wave is the sim camera's pattern: mean·(1 + at·sin(2π·hz·t) + as·sin(2π(kx·x/w + ky·y/h))), clipped.
func wave(g frames.Geometry, mean, at, hz, t, as float64, ky, kx int) []byte {
	samples := make([]float64, g.Height*g.Width)
	top := float64(int(1)<<(8*g.Dtype.Size()) - 1)
	for y := range g.Height {
		for x := range g.Width {
			phase := float64(kx*x)/float64(g.Width) + float64(ky*y)/float64(g.Height)
			v := mean * (1 + at*math.Sin(2*math.Pi*hz*t) + as*math.Sin(2*math.Pi*phase))
			samples[y*g.Width+x] = math.Round(max(0, min(top, v)))
		}
	}
	return encode(g, samples)
}

func mono(h, w int, d frames.Dtype) frames.Geometry {
	return frames.Geometry{Height: h, Width: w, Channels: 1, Dtype: d}
}

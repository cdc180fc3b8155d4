package spectrum_test

import (
	"errors"
	"fmt"
	"math/cmplx"
	"testing"

	"github.com/sluicedaq/sluice/internal/spectrum"
)

func TestPlan1DAgreesWithItsDefinition(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 16, 30, 49, 53, 59, 97, 106, 128, 257, 1000} {
		x := noise(n, uint64(n))
		plan, err := spectrum.NewPlan1D(n)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]complex128, n/2+1)
		if err := plan.Forward(got, x); err != nil {
			t.Fatal(err)
		}
		want := naive2D(x, 1, n)
		scale := norm(want)
		for k := range got {
			near(t, fmt.Sprintf("n=%d k=%d", n, k), cmplx.Abs(got[k]-want[k]), 0, 1e-13, scale)
		}
	}
}

func TestPlan2DAgreesWithItsDefinition(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 2}, {2, 1}, {1, 9}, {9, 1}, {2, 2}, {3, 5}, {16, 16}, {20, 12}, {15, 33}, {53, 59}, {17, 106}, {64, 48}} {
		h, w := size[0], size[1]
		x := noise(h*w, uint64(h*w))
		src := make([]float32, len(x))
		for i, v := range x {
			src[i] = float32(v)
			x[i] = float64(src[i])
		}
		plan, err := spectrum.NewPlan2D(h, w)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]complex64, h*(w/2+1))
		if err := plan.Forward(got, src); err != nil {
			t.Fatal(err)
		}
		want := naive2D(x, h, w)
		scale := norm(want)
		for k := range got {
			near(t, fmt.Sprintf("%dx%d k=%d", h, w, k), cmplx.Abs(complex128(got[k])-want[k]), 0, 1e-6, scale)
		}
	}
}

// norm is the largest magnitude.
func norm(xs []complex128) float64 {
	m := 0.0
	for _, x := range xs {
		m = max(m, cmplx.Abs(x))
	}
	return m
}

func TestPlansRefuseWrongSizes(t *testing.T) {
	if _, err := spectrum.NewPlan1D(0); !errors.Is(err, spectrum.ErrConfig) {
		t.Errorf("a transform of 0: %v", err)
	}
	if _, err := spectrum.NewPlan2D(4, 0); !errors.Is(err, spectrum.ErrConfig) {
		t.Errorf("a transform of 4 x 0: %v", err)
	}
	one, _ := spectrum.NewPlan1D(8)
	if err := one.Forward(make([]complex128, 4), make([]float64, 8)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("too small a destination: %v", err)
	}
	two, _ := spectrum.NewPlan2D(4, 6)
	if err := two.Forward(make([]complex64, 16), make([]float32, 23)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("too small a source: %v", err)
	}
}

func TestPlansAllocateNothingPerFrame(t *testing.T) {
	plan, err := spectrum.NewPlan2D(53, 64)
	if err != nil {
		t.Fatal(err)
	}
	dst, src := make([]complex64, 53*33), make([]float32, 53*64)
	if n := testing.AllocsPerRun(5, func() { _ = plan.Forward(dst, src) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if plan.Bytes() <= 0 {
		t.Errorf("a plan of %d bytes", plan.Bytes())
	}
}

func BenchmarkPlan2D(b *testing.B) {
	for _, size := range [][2]int{{512, 512}, {2048, 2048}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			plan, err := spectrum.NewPlan2D(size[0], size[1])
			if err != nil {
				b.Fatal(err)
			}
			src := make([]float32, size[0]*size[1])
			for i := range src {
				src[i] = float32(i % 251)
			}
			dst := make([]complex64, size[0]*(size[1]/2+1))
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				if err := plan.Forward(dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

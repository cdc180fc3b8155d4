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
	one, _ := spectrum.NewPlan1D(8)
	if err := one.Forward(make([]complex128, 4), make([]float64, 8)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("too small a destination: %v", err)
	}
}

func TestPlansAllocateNothing(t *testing.T) {
	plan, err := spectrum.NewPlan1D(53)
	if err != nil {
		t.Fatal(err)
	}
	dst, src := make([]complex128, 27), make([]float64, 53)
	if n := testing.AllocsPerRun(5, func() { _ = plan.Forward(dst, src) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if plan.Bytes() <= 0 {
		t.Errorf("a plan of %d bytes", plan.Bytes())
	}
}

package spectrum

import "fmt"

// Plan1D is the discrete Fourier transform of real series of one length. A plan is used by one goroutine
// at a time; its methods allocate nothing.
type Plan1D interface {
	// Len is the length n of the series.
	Len() int
	// Forward writes X[k] = Σ src[j]·exp(−2πi·jk/n), k = 0 … n/2, to dst. src has n elements and is left as
	// it is, dst has n/2+1. The error wraps ErrSize.
	Forward(dst []complex128, src []float64) error
	// Bytes is the memory that the plan holds.
	Bytes() int64
}

// Plan2D is the two-dimensional discrete Fourier transform of real planes of one size. A plan is used by
// one goroutine at a time; its methods allocate nothing.
type Plan2D interface {
	// Size is the size of the planes.
	Size() (height, width int)
	// Forward writes X[ky,kx] = Σ src[y,x]·exp(−2πi·(ky·y/height + kx·x/width)), ky = 0 … height−1,
	// kx = 0 … width/2, to dst; the rest follows from X[−ky,−kx] = conj X[ky,kx]. Both are in C order: src
	// has height·width elements and may be overwritten, dst has height·(width/2+1). The error wraps ErrSize.
	Forward(dst []complex64, src []float32) error
	// Bytes is the memory that the plan holds, dst and src not included.
	Bytes() int64
}

// NewPlan1D makes a plan for series of n elements, n at least 1.
func NewPlan1D(n int) (Plan1D, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: a transform of %d elements", ErrConfig, n)
	}
	return newRealLine(n), nil
}

// NewPlan2D makes a plan for planes of the given size, both at least 1.
func NewPlan2D(height, width int) (Plan2D, error) {
	if height < 1 || width < 1 {
		return nil, fmt.Errorf("%w: a transform of %d x %d elements", ErrConfig, height, width)
	}
	return newGonum2D(height, width), nil
}

// largestFactor is the largest prime factor of n, or 1.
func largestFactor(n int) int {
	largest := 1
	for p := 2; p*p <= n; p++ {
		for n%p == 0 {
			largest, n = p, n/p
		}
	}
	return max(largest, n)
}

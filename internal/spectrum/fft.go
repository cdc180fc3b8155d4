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

// NewPlan1D makes a plan for series of n elements, n at least 1.
func NewPlan1D(n int) (Plan1D, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: a transform of %d elements", ErrConfig, n)
	}
	return newRealLine(n), nil
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

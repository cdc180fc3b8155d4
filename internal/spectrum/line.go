package spectrum

import (
	"fmt"
	"reflect"

	"gonum.org/v1/gonum/dsp/fourier"
)

// slowFactor is the prime factor from which on gonum's transform, whose work grows with it, loses against
// Bluestein's, which does not care.
const slowFactor = 50

// realLine is a Plan1D by gonum, or by Bluestein's algorithm where gonum would be slow.
type realLine struct {
	n    int
	fft  *fourier.FFT // nil where slow is used
	slow *bluestein
	buf  []complex128
}

var _ Plan1D = (*realLine)(nil)

func newRealLine(n int) *realLine {
	if largestFactor(n) > slowFactor {
		return &realLine{n: n, slow: newBluestein(n), buf: make([]complex128, n)}
	}
	return &realLine{n: n, fft: fourier.NewFFT(n)}
}

func (l *realLine) Len() int { return l.n }

func (l *realLine) Forward(dst []complex128, src []float64) error {
	if len(src) != l.n || len(dst) != l.n/2+1 {
		return fmt.Errorf("%w: %d values into %d coefficients, a transform of %d wants %d into %d",
			ErrSize, len(src), len(dst), l.n, l.n, l.n/2+1)
	}
	if l.fft != nil {
		l.fft.Coefficients(dst, src)
		return nil
	}
	for i, v := range src {
		l.buf[i] = complex(v, 0)
	}
	l.slow.forward(l.buf)
	copy(dst, l.buf)
	return nil
}

func (l *realLine) Bytes() int64 {
	if l.fft != nil {
		return 3 * 8 * int64(l.n)
	}
	return l.slow.bytes() + sizeOf(l.buf)
}

// sizeOf is the size of a slice's backing memory.
func sizeOf[T any](s []T) int64 {
	return int64(cap(s)) * int64(reflect.TypeFor[T]().Size())
}

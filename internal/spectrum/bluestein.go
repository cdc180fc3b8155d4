package spectrum

import (
	"math"
	"math/bits"

	"gonum.org/v1/gonum/dsp/fourier"
)

// bluestein transforms series of any length n, in the time of a few transforms of a power of two m ≥ 2n−1:
// with jk = (j² + k² − (k−j)²)/2 the sum is a convolution with a chirp. L. Bluestein, "A linear filtering
// approach to the computation of discrete Fourier transform", IEEE Trans. Audio Electroacoust. 18 (1970).
type bluestein struct {
	fft    *fourier.CmplxFFT // of length m
	chirp  []complex128      // exp(−iπj²/n), n elements
	filter []complex128      // the transform of the conjugate chirp, over m
	buf    []complex128
}

func newBluestein(n int) *bluestein {
	m := 1 << bits.Len(uint(2*n-2))
	b := &bluestein{
		fft:    fourier.NewCmplxFFT(m),
		chirp:  make([]complex128, n),
		filter: make([]complex128, m),
		buf:    make([]complex128, m),
	}
	for j := range n {
		// j² is taken modulo the chirp's period 2n, so that the angle keeps its precision.
		sin, cos := math.Sincos(math.Pi * float64(uint64(j)*uint64(j)%uint64(2*n)) / float64(n))
		b.chirp[j] = complex(cos, -sin)
		b.filter[j] = complex(cos, sin) / complex(float64(m), 0)
		b.filter[(m-j)%m] = b.filter[j]
	}
	b.fft.Coefficients(b.filter, b.filter)
	return b
}

func (b *bluestein) forward(x []complex128) {
	for j, c := range b.chirp {
		b.buf[j] = x[j] * c
	}
	clear(b.buf[len(b.chirp):])
	b.fft.Coefficients(b.buf, b.buf)
	for i, f := range b.filter {
		b.buf[i] *= f
	}
	b.fft.Sequence(b.buf, b.buf)
	for k, c := range b.chirp {
		x[k] = b.buf[k] * c
	}
}

func (b *bluestein) bytes() int64 {
	return sizeOf(b.chirp) + sizeOf(b.filter) + sizeOf(b.buf) + 6*8*int64(b.fft.Len())
}

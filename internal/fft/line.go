package fft

import "math"

// line is the transform of eight series of n elements at a time. It holds tables only.
type line struct {
	n      int
	stages []stage // of n, or of the convolution
	// Bluestein's algorithm: with jk = (j² + k² − (k−j)²)/2 the sum is a convolution with a chirp, which is
	// computed by transforms of a length that has stages.
	long   int
	chirp  []float32 // exp(−iπj²/n), n elements
	filter []float32 // the conjugate of the transform of the conjugate chirp, over long
	k      *kernels
}

// stage is one pass.
type stage struct {
	radix, m, s int
	tw          []float32
	pass        pass
}

// lineLength is how many lines the buffers for a transform of n elements must have.
func lineLength(n int) int {
	if smooth(n) {
		return n
	}
	long := 2*n - 1
	for !smooth(long) {
		long++
	}
	return long
}

func newLine(n int, k *kernels) *line {
	l := &line{n: n, k: k}
	if smooth(n) {
		l.stages = newStages(n, k)
		return l
	}
	l.long = lineLength(n)
	l.stages = newStages(l.long, k)
	l.makeChirp()
	return l
}

func newStages(n int, k *kernels) []stage {
	var stages []stage
	m, s := n, 1
	for _, r := range factors(n, k.costs) {
		m /= r
		st := stage{radix: r, m: m, s: s, pass: k.lasts[r]}
		if m > 1 {
			st.pass = k.passes[r]
			st.tw = make([]float32, 0, 2*m*(r-1))
			for p := range m {
				for j := 1; j < r; j++ {
					st.tw = appendUnit(st.tw, p*j, r*m)
				}
			}
		}
		stages = append(stages, st)
		s *= r
	}
	return stages
}

// appendUnit appends exp(−2πi·num/den).
func appendUnit(to []float32, num, den int) []float32 {
	sin, cos := math.Sincos(2 * math.Pi * float64(num%den) / float64(den))
	return append(to, float32(cos), float32(-sin))
}

func (l *line) makeChirp() {
	l.chirp = make([]float32, 0, 2*l.n)
	series := make([]complex128, l.long)
	for j := range l.n {
		// j² is taken modulo the chirp's period 2n, so that the angle keeps its precision.
		square := int(uint64(j) * uint64(j) % uint64(2*l.n))
		l.chirp = appendUnit(l.chirp, square, 2*l.n)
		sin, cos := math.Sincos(math.Pi * float64(square) / float64(l.n))
		series[j] = complex(cos, sin)
		series[(l.long-j)%l.long] = series[j]
	}
	scale := 1 / float64(l.long)
	l.filter = make([]float32, 0, 2*l.long)
	for _, c := range dft64(series) {
		l.filter = append(l.filter, float32(real(c)*scale), float32(-imag(c)*scale))
	}
}

// dft64 is the transform in float64, by division by the smallest factor. It is for tables: slow but exact.
func dft64(x []complex128) []complex128 {
	unit := make([]complex128, len(x))
	for i := range unit {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(len(x)))
		unit[i] = complex(cos, -sin)
	}
	return divide(x, 1, unit)
}

// divide transforms every step-th element of x.
func divide(x []complex128, step int, unit []complex128) []complex128 {
	n := len(unit) / step
	if n == 1 {
		return x[:1]
	}
	r := 2
	for n%r != 0 {
		r++
	}
	parts := make([][]complex128, r)
	for j := range parts {
		parts[j] = divide(x[j*step:], step*r, unit)
	}
	m := n / r
	out := make([]complex128, n)
	for k := range out {
		for j, part := range parts {
			out[k] += part[k%m] * unit[j*k%n*step]
		}
	}
	return out
}

// forward transforms the n lines of x, with another buffer's help. It returns the buffer that holds the result,
// and the other one.
func (l *line) forward(x, other []float32) (result, spare []float32) {
	if l.long == 0 {
		return l.run(x, other)
	}
	l.k.product(x, x, l.chirp, l.n, 1)
	result, spare = l.convolve(x, other)
	l.k.conjugate(result, result, l.chirp, l.n, 1)
	return result, spare
}

// apart transforms the n lines of x, which stay as they are, with two buffers' help. It returns the one that holds the
// result.
func (l *line) apart(x, a, b []float32) []float32 {
	if l.long > 0 {
		l.k.product(a, x, l.chirp, l.n, 1)
		result, _ := l.convolve(a, b)
		l.k.conjugate(result, result, l.chirp, l.n, 1)
		return result
	}
	for _, st := range l.stages {
		st.pass(a, x, st.tw, st.m, st.s)
		x, a, b = a, b, a
	}
	return x
}

// run does the stages from one buffer to the other and back.
func (l *line) run(x, other []float32) (result, spare []float32) {
	for _, st := range l.stages {
		st.pass(other, x, st.tw, st.m, st.s)
		x, other = other, x
	}
	return x, other
}

// convolve convolves the n lines of x with the chirp. Its result is the conjugate.
func (l *line) convolve(x, other []float32) (result, spare []float32) {
	clear(x[lineFloats*l.n : lineFloats*l.long])
	x, other = l.run(x, other)
	// The transform of the conjugate is the conjugate of the inverse transform.
	l.k.conjugate(x, x, l.filter, l.long, 1)
	return l.run(x, other)
}

func (l *line) bytes() int64 {
	n := len(l.chirp) + len(l.filter)
	for _, st := range l.stages {
		n += len(st.tw)
	}
	return 4 * int64(n)
}

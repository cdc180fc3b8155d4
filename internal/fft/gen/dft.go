package main

import "math"

// radix is that of a pass. Processors with vector registers are limited by memory and want few passes, others by
// arithmetic and want small ones.
type radix struct {
	n        int
	portable bool
}

func radices() []radix {
	return []radix{
		{2, true}, {3, true}, {4, true}, {5, true}, {6, true}, {7, true}, {8, true}, {9, false}, {10, false},
		{11, true}, {12, true}, {13, true}, {15, false}, {16, false},
	}
}

// dft is the discrete Fourier transform X[k] = Σ x[j]·exp(−2πi·jk/n) of n values. done is called for each k as
// soon as X[k] is there.
func (g *graph) dft(x []value, done func(k int, v value)) {
	switch n := len(x); n {
	case 1:
		done(0, x[0])
	case 2:
		done(0, g.addC(x[0], x[1]))
		done(1, g.subC(x[0], x[1]))
	case 4:
		g.dft4(x, done)
	case 6, 8, 9, 10, 12, 15, 16:
		g.composite(x, split(n), done)
	default:
		g.prime(x, done)
	}
}

// split is the first factor of a composite transform.
func split(n int) int {
	for _, r := range []int{4, 2, 3} {
		if n%r == 0 {
			return r
		}
	}
	panic("no factor")
}

// composite is the algorithm of J. W. Cooley and J. W. Tukey, "An algorithm for the machine calculation of
// complex Fourier series", Math. Comp. 19 (1965): with n = r·m, r transforms of length m over every r-th value,
// then m transforms of length r of the turned results.
func (g *graph) composite(x []value, r int, done func(k int, v value)) {
	n := len(x)
	m := n / r
	mid := make([][]value, m)
	for k := range mid {
		mid[k] = make([]value, r)
	}
	for j := range r {
		part := make([]value, m)
		for i := range part {
			part[i] = x[j+r*i]
		}
		g.dft(part, func(k int, v value) { mid[k][j] = g.turn(v, j*k, n) })
	}
	for k := range m {
		g.dft(mid[k], func(i int, v value) { done(k+m*i, v) })
	}
}

func (g *graph) dft4(x []value, done func(k int, v value)) {
	s02, d02 := g.addC(x[0], x[2]), g.subC(x[0], x[2])
	s13, d13 := g.addC(x[1], x[3]), g.overI(g.subC(x[1], x[3]))
	done(0, g.addC(s02, s13))
	done(1, g.addC(d02, d13))
	done(2, g.subC(s02, s13))
	done(3, g.subC(d02, d13))
}

// prime is the transform by its definition, for odd n: the terms for j and n−j have the same cosine and opposite
// sines, the results for k and n−k the same sums of them.
func (g *graph) prime(x []value, done func(k int, v value)) {
	n := len(x)
	all := x[0]
	sums, diffs := make([]value, n), make([]value, n)
	for j := 1; j <= n/2; j++ {
		sums[j], diffs[j] = g.addC(x[j], x[n-j]), g.subC(x[j], x[n-j])
		all = g.addC(all, sums[j])
	}
	done(0, all)
	for k := 1; k <= n/2; k++ {
		even := x[0]
		var odd value
		for j := 1; j <= n/2; j++ {
			sin, cos := math.Sincos(2 * math.Pi * float64(j*k%n) / float64(n))
			even = g.addC(even, g.scaleC(cos, sums[j]))
			if term := g.scaleC(sin, diffs[j]); j == 1 {
				odd = term
			} else {
				odd = g.addC(odd, term)
			}
		}
		odd = g.overI(odd)
		done(k, g.addC(even, odd))
		done(n-k, g.subC(even, odd))
	}
}

// butterfly is the code of one butterfly: load 2j and 2j+1 are the real and the imaginary part of input j, store
// 2k and 2k+1 those of output k. With twiddles, output k > 0 is multiplied with number 2k−2 and 2k−1 of the table.
func butterfly(radix int, twiddles bool) []*node {
	g := newGraph()
	x := make([]value, radix)
	for j := range x {
		x[j] = value{g.load(2 * j), g.load(2*j + 1)}
	}
	g.dft(x, func(k int, v value) {
		if twiddles && k > 0 {
			v = g.mulC(v, value{g.twiddle(2*k - 2), g.twiddle(2*k - 1)})
		}
		g.store(2*k, v.re)
		g.store(2*k+1, v.im)
	})
	return g.finish()
}

// product is the code of one element of a product with a table: a·w, or conj(a)·w.
func product(conjugate bool) []*node {
	g := newGraph()
	a, w := value{g.load(0), g.load(1)}, value{g.twiddle(0), g.twiddle(1)}
	v := g.mulC(a, w)
	if conjugate {
		// (re − i·im)·(u + i·v) = (re·u + im·v) + i·(re·v − im·u)
		v = value{
			g.add(g.mul(a.re, w.re), g.mul(a.im, w.im)),
			g.sub(g.mul(a.re, w.im), g.mul(a.im, w.re)),
		}
	}
	g.store(0, v.re)
	g.store(1, v.im)
	return g.finish()
}

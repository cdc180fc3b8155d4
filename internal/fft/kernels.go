package fft

const (
	// lanes is how many transforms are computed at a time.
	lanes = 8
	// lineFloats is the length of a line: an element of each of eight transforms, first the eight real, then
	// the eight imaginary parts. A line is as long as a cache line.
	lineFloats = 2 * lanes
	// guard is how many lines before and after a buffer's elements may be read.
	guard = 8
)

// pass is one pass over m·s·r lines of src, with r the radix: for p < m, q < s it transforms the r lines
// q + s·(p + m·j), j < r, multiplies the k-th result with number p·(r−1) + k − 1 of the complex table tw, for
// k > 0, and writes it to line q + s·(r·p + k) of dst. dst and src do not overlap.
type pass func(dst, src, tw []float32, m, s int)

// rows says how eight rows are loaded. The generated code knows its fields.
type rows struct {
	offset [lanes]int     // where they begin in src, bytes
	ahead  int            // from a sample to that of the row that is loaded next, bytes: it may be fetched
	wy     [lanes]float32 // their weights
	// whole and rest are subtracted from each sample. whole is an int32 for samples of 8 and 16 bits, a
	// float32 for others.
	whole  uint32
	rest   float32
	energy [lanes]float32 // what the loader returns: for each row the sum of the squares
}

// loader reads cols = 8·blocks samples of eight rows, weighs them with the rows' weights and with wx, and
// writes them transposed: 8·cols floats.
type loader func(dst []float32, src []byte, wx []float32, rows *rows, blocks int)

// kernels are the inner loops. They check nothing.
type kernels struct {
	// costs is the time of a pass, in ns a line on the machine that they were measured on, by radix; 0 where
	// there is none.
	costs  [17]float64
	passes [17]pass
	lasts  [17]pass // the same for m = 1, where the factors are 1: without a table
	// product multiplies line p of m with number p of the table; conjugate does so with its conjugate. dst
	// and src may be the same.
	product, conjugate pass

	load8, load16, loadFloat loader
	// untangle makes 8·blocks elements of the spectra of eight rows out of the transforms, of half the length,
	// in src of their even samples plus i times the odd ones, and writes them to the strips: eight elements
	// of each row make a line, those of the eight rows follow each other, and the next eight are stride floats
	// further on. src begins with the guard, element half repeats element 0. tw[k] is −i·exp(−πik/half).
	untangle func(dst, src []float32, stride, blocks int, tw []float32, half int)
	// scatter writes 8·blocks elements of eight transforms to the strips.
	scatter func(dst, src []float32, stride, blocks int)
	// interleave writes lines as eight complex numbers each, stride numbers apart.
	interleave func(dst []complex64, src []float32, stride, lines int)
}

// portable are the inner loops in Go.
func portable() *kernels {
	return &kernels{
		costs: [17]float64{2: 5.9, 3: 7.4, 4: 6.8, 5: 10.5, 6: 11.4, 7: 15.5, 8: 11.4, 11: 26, 12: 12.5, 13: 30},
		passes: [17]pass{
			2: pass2Go, 3: pass3Go, 4: pass4Go, 5: pass5Go, 6: pass6Go, 7: pass7Go, 8: pass8Go, 11: pass11Go,
			12: pass12Go, 13: pass13Go,
		},
		lasts: [17]pass{
			2: last2Go, 3: last3Go, 4: last4Go, 5: last5Go, 6: last6Go, 7: last7Go, 8: last8Go, 11: last11Go,
			12: last12Go, 13: last13Go,
		},
		product: productGo, conjugate: conjugateGo,
		load8: load8Go, load16: load16Go, loadFloat: loadFloatGo,
		untangle: untangleGo, scatter: scatterGo, interleave: interleaveGo,
	}
}

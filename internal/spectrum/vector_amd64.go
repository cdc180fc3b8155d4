package spectrum

import "golang.org/x/sys/cpu"

// sumBlocks adds up the bytes of rows of n bytes, stride bytes apart, and every other of them, from a row's second on.
// It reports false when it can't.
func sumBlocks(b []byte, n, stride, rows int) (sum, high uint64, ok bool) {
	if n < 32 || rows < 1 || !cpu.X86.HasAVX2 {
		return 0, 0, false
	}
	b = b[:(rows-1)*stride+n]
	sum, high = sumAVX2(&b[0], n, stride, rows)
	return sum, high, true
}

// sumAVX2 is sumBlocks for n of 32 or more.
//
//go:noescape
func sumAVX2(p *byte, n, stride, rows int) (sum, high uint64)

// above is the place of the first number that is greater than floor, or len(xs).
func above(xs []float32, floor float32) int {
	n := len(xs) &^ 7
	if n == 0 || !cpu.X86.HasAVX2 {
		return aboveWords(xs, floor)
	}
	if i := aboveAVX2(&xs[0], n, floor); i < n {
		return i
	}
	return n + aboveWords(xs[n:], floor)
}

// aboveAVX2 is above for n numbers, a multiple of 8 and at least 8.
//
//go:noescape
func aboveAVX2(p *float32, n int, floor float32) int

// addRings makes the powers of the frequencies ky = 1 … n and −ky of eight columns, and adds them up with the columns'
// weights: ky and height−ky of lines and power.
func addRings(sums [][stripCols]float64, bins [][stripCols]uint16, lines [][2 * stripCols]float32, power [][stripCols]float32,
	squares []float64, weights *[stripCols]float32, n int, totals *stripTotals,
) {
	if n == 0 || !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		addRingsWords(sums, bins, lines, power, squares, weights, n, totals)
		return
	}
	last := len(lines) - 1
	ringsAVX2(&sums[0], &bins[1], &lines[1], &lines[last], &power[1], &power[last], &squares[1], weights, n, totals)
}

// ringsAVX2 is addRings for n > 0.
//
//go:noescape
func ringsAVX2(sums *[stripCols]float64, bins *[stripCols]uint16, up, down *[2 * stripCols]float32, powerUp, powerDown *[stripCols]float32,
	squares *float64, weights *[stripCols]float32, n int, totals *stripTotals)

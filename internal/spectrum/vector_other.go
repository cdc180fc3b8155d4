//go:build !amd64

package spectrum

// sumBlocks adds up the bytes of rows of n bytes, stride bytes apart, and every other of them, from a row's second on.
// It reports false when it can't.
func sumBlocks([]byte, int, int, int) (sum, high uint64, ok bool) { return 0, 0, false }

// above is the place of the first number that is greater than floor, or len(xs).
func above(xs []float32, floor float32) int { return aboveWords(xs, floor) }

// addRings makes the powers of the frequencies ky = 1 … n and −ky of eight columns, and adds them up with the columns'
// weights: ky and height−ky of lines and power.
func addRings(sums [][stripCols]float64, bins [][stripCols]uint16, lines [][2 * stripCols]float32, power [][stripCols]float32,
	squares []float64, weights *[stripCols]float32, n int, totals *stripTotals,
) {
	addRingsWords(sums, bins, lines, power, squares, weights, n, totals)
}

package spectrum

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// TestSums adds up rows of every length and alignment, with and without vector instructions.
func TestSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	all := make([]byte, 1000)
	for _, bright := range []bool{false, true} {
		for i := range all {
			all[i] = byte(r.Uint32())
			if bright {
				all[i] = 0xff
			}
		}
		for from := range 33 {
			for n := range 200 {
				checkSums(t, all[from:], n, n+from%7, 1+n%4)
			}
		}
	}
}

func checkSums(t *testing.T, b []byte, n, stride, rows int) {
	t.Helper()
	even := n &^ 1
	var want8, words8, want16, words16 uint64
	for y := range rows {
		row := b[y*stride : y*stride+n]
		for _, v := range row {
			want8 += uint64(v)
		}
		for i := 0; i < even; i += 2 {
			want16 += uint64(binary.LittleEndian.Uint16(row[i:]))
		}
		words8 += sumWords8(row)
		words16 += sumWords16(row[:even])
	}
	// Nothing behind the last row may be read: it is cut off.
	if got := sum8(b[:(rows-1)*stride+n:(rows-1)*stride+n], n, stride, rows); got != want8 || words8 != want8 {
		t.Fatalf("%d rows of %d bytes: %d, %d without vectors, want %d", rows, n, got, words8, want8)
	}
	if got := sum16(b[:(rows-1)*stride+even], even, stride, rows); got != want16 || words16 != want16 {
		t.Fatalf("%d rows of %d samples: %d, %d without vectors, want %d", rows, even/2, got, words16, want16)
	}
}

func TestAbove(t *testing.T) {
	xs := make([]float32, 70)
	for n := range xs {
		clear(xs)
		if got := above(xs[:n], 0); got != n {
			t.Errorf("%d zeros: the one at %d is above zero", n, got)
		}
		for i := range n {
			xs[i], xs[n-1] = 2, 3
			if got := above(xs[:n], 1); got != i {
				t.Errorf("of %d numbers %d is the first above 1, got %d", n, i, got)
			}
			xs[i] = 1
		}
	}
}

// TestRingsAddUpTheSame compares the sums with and without vector instructions. They differ by the order of the
// additions, and by the rounding of the powers.
func TestRingsAddUpTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for height := 1; height < 50; height++ {
		const rings = 20
		lines, bins := make([][2 * stripCols]float32, height), make([][stripCols]uint16, height/2+1)
		squares, weights := make([]float64, height/2+1), [stripCols]float32{1, 2, 2, 2, 2, 0, 1, 2}
		for ky := range lines {
			for j := range lines[ky] {
				lines[ky][j] = r.Float32() - 0.5
			}
		}
		for ky := range bins {
			squares[ky] = r.Float64()
			for j := range stripCols {
				bins[ky][j] = uint16(stripCols * r.IntN(rings))
			}
		}
		var sums, want [rings][stripCols]float64
		var totals, wantTotals stripTotals
		power, wantPower := make([][stripCols]float32, height), make([][stripCols]float32, height)
		n := (height - 1) / 2
		addRings(sums[:], bins, lines, power, squares, &weights, n, &totals)
		addRingsWords(want[:], bins, lines, wantPower, squares, &weights, n, &wantTotals)
		for j := range stripCols {
			check := func(what string, got, want float64) {
				if !(math.Abs(got-want) <= 2e-7*want) {
					t.Errorf("height %d column %d: %s %v, want %v", height, j, what, got, want)
				}
			}
			for ky := range power {
				check("power", float64(power[ky][j]), float64(wantPower[ky][j]))
			}
			for i := range sums {
				check("ring", sums[i][j], want[i][j])
			}
			check("greatest", float64(totals.most[j]), float64(wantTotals.most[j]))
			check("total", totals.columns[j], wantTotals.columns[j])
			check("moment", totals.moments[j], wantTotals.moments[j])
		}
	}
}

package spectrum

import (
	"math"
	"slices"
	"unsafe"
)

const (
	// maxRadialBins bounds the radial average below the frequency ½; the corners of the plane reach √½.
	maxRadialBins = 1024
	// stripCols is how many columns of the power spectrum come at a time.
	stripCols = 8
)

// radial is what one pass over the power spectrum gives: its average over rings and the moment of f².
type radial struct {
	height  int
	perStep float64 // 1 / the rings' width
	counts  []int64 // the rings' members
	// bins are stripCols times the rings of the frequencies with ky = 0 … height/2, strip after strip: those of
	// −ky are the same.
	bins    [][stripCols]uint16
	squares []float64            // fy² for these ky
	across  [][stripCols]float64 // fx² of each strip
	weights [][stripCols]float32 // how many columns each stands for: itself and its mirror image, or none

	// Each column of a strip has sums of its own: neighbours often fall into the same ring, and would wait for
	// each other.
	sums   [][stripCols]float64
	moment float64
}

// stripTotals are, of each of a strip's columns, the sum of the power, of the power times fy², and the greatest power.
type stripTotals struct {
	columns, moments [stripCols]float64
	most             [stripCols]float32
}

// newRadial decides the width of the bins, one frequency step of the longer axis but no finer than
// maxRadialBins allow, and counts their members.
func newRadial(fy, fx []float64, r region) radial {
	top := math.Hypot(0.5, 0.5)
	rows, strips := r.height/2+1, (len(fx)+stripCols-1)/stripCols
	a := radial{
		height:  r.height,
		perStep: min(float64(max(r.height, r.width)), 2*maxRadialBins),
		bins:    make([][stripCols]uint16, strips*rows),
		squares: make([]float64, rows),
		across:  make([][stripCols]float64, strips),
		weights: make([][stripCols]float32, strips),
	}
	counts := make([]int64, a.bin(top*top)+1)
	last := 0
	for ky := range rows {
		a.squares[ky] = fy[ky] * fy[ky]
	}
	for kx, f := range fx {
		strip, j := kx/stripCols, kx%stripCols
		a.across[strip][j] = f * f
		a.weights[strip][j] = 2
		if kx == 0 || 2*kx == r.width {
			a.weights[strip][j] = 1
		}
		for ky, square := range a.squares {
			i := a.bin(square + f*f)
			a.bins[strip*rows+ky][j] = uint16(stripCols * i)
			n := int64(a.weights[strip][j])
			if a.mirrored(ky) {
				n *= 2
			}
			counts[i] += n
			last = max(last, i)
		}
	}
	a.counts = counts[:last+1]
	a.sums = make([][stripCols]float64, last+1)
	return a
}

// bin is the bin of a squared frequency.
func (a *radial) bin(squared float64) int { return int(math.Sqrt(squared)*a.perStep + 0.5) }

// mirrored says whether there is a −ky besides ky.
func (a *radial) mirrored(ky int) bool { return ky > 0 && 2*ky != a.height }

func (a *radial) reset() {
	clear(a.sums)
	a.moment = 0
}

// add takes the transform of the columns from kx on, as [fft.Workspace.Columns] hands it out, and writes its power:
// power[8·ky+j] is that of column kx+j. It returns the greatest.
func (a *radial) add(kx int, lines, power []float32) float32 {
	strip, rows := kx/stripCols, len(a.squares)
	xs := unsafe.Slice((*[2 * stripCols]float32)(lines), a.height)
	ps := unsafe.Slice((*[stripCols]float32)(power), a.height)
	bins, weights := a.bins[strip*rows:(strip+1)*rows], &a.weights[strip]
	var t stripTotals
	pairs := (a.height - 1) / 2
	addSelf(a.sums, &bins[0], &xs[0], &ps[0], 0, weights, &t)
	addRings(a.sums, bins, xs, ps, a.squares, weights, pairs, &t)
	if last := rows - 1; last > pairs {
		addSelf(a.sums, &bins[last], &xs[last], &ps[last], a.squares[last], weights, &t)
	}
	for j, square := range a.across[strip] {
		a.moment += t.moments[j] + square*t.columns[j]
	}
	return slices.Max(t.most[:])
}

// addRingsWords is addRings without vector instructions.
func addRingsWords(sums [][stripCols]float64, bins [][stripCols]uint16, lines [][2 * stripCols]float32, power [][stripCols]float32,
	squares []float64, weights *[stripCols]float32, n int, totals *stripTotals,
) {
	for ky := 1; ky <= n; ky++ {
		mirror := len(lines) - ky
		totals.square(&lines[ky], &power[ky])
		totals.square(&lines[mirror], &power[mirror])
		both := power[ky]
		for j, v := range power[mirror] {
			both[j] += v
		}
		addRing(sums, &bins[ky], &both, squares[ky], weights, totals)
	}
}

// addSelf is addRings for a frequency without a mirror image.
func addSelf(sums [][stripCols]float64, bins *[stripCols]uint16, line *[2 * stripCols]float32, power *[stripCols]float32,
	square float64, weights *[stripCols]float32, totals *stripTotals,
) {
	totals.square(line, power)
	addRing(sums, bins, power, square, weights, totals)
}

// square writes the powers of eight coefficients and keeps the greatest.
func (t *stripTotals) square(line *[2 * stripCols]float32, power *[stripCols]float32) {
	for j := range power {
		re, im := line[j], line[stripCols+j]
		power[j] = re*re + im*im
		t.most[j] = max(t.most[j], power[j])
	}
}

func addRing(sums [][stripCols]float64, bins *[stripCols]uint16, line *[stripCols]float32, square float64,
	weights *[stripCols]float32, t *stripTotals,
) {
	for j, v := range line {
		p := float64(v * weights[j])
		sums[bins[j]/stripCols][j] += p
		t.columns[j] += p
		t.moments[j] += square * p
	}
}

// result fills in the radial average, the total and the sharpness; norm makes P of |X|².
func (a *radial) result(r *SpatialSpectrum, norm float64) {
	r.RadialStep = 1 / a.perStep
	r.Radial = append(r.Radial[:0], make([]float64, len(a.counts))...)
	r.RadialCount = append(r.RadialCount[:0], a.counts...)
	r.Total, r.Sharpness = 0, 0
	for i, n := range a.counts {
		sum := 0.0
		for _, p := range a.sums[i] {
			sum += p
		}
		r.Total += sum * norm
		if n > 0 {
			r.Radial[i] = sum * norm / float64(n)
		}
	}
	if r.Total > 0 {
		r.Sharpness = math.Sqrt(a.moment * norm / r.Total)
	}
}

// radialBytes is the memory of the table of rings, which is nearly all that a radial needs.
func radialBytes(height, width int) int64 {
	strips := (width/2 + stripCols) / stripCols
	return 2 * stripCols * int64(strips) * int64(height/2+1)
}

func (a *radial) bytes() int64 {
	return sizeOf(a.counts) + sizeOf(a.bins) + sizeOf(a.squares) + sizeOf(a.across) + sizeOf(a.weights)
}

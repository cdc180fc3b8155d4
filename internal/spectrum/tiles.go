package spectrum

import (
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// MaxGrid is the largest number of tiles along one axis.
const MaxGrid = 32

// Tiles computes the mean of a frame and of the tiles of a grid over it. Its methods may be called
// concurrently and allocate nothing.
type Tiles struct {
	geometry frames.Geometry
	ys, xs   []int // the tiles' bounds: one more than there are tiles
	sum      summer
}

// NewTiles makes a grid of rows × cols tiles, of which a frame that is smaller has only as many as it has
// pixels along that axis. Tile i of n along an axis of length l covers the pixels from ⌊i·l/n⌋ up to
// ⌊(i+1)·l/n⌋: sizes that do not divide give tiles that differ by one pixel, and none is left out.
func NewTiles(g frames.Geometry, rows, cols int) (*Tiles, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	if rows < 1 || rows > MaxGrid || cols < 1 || cols > MaxGrid {
		return nil, fmt.Errorf("%w: a grid of %d x %d tiles: each is 1 to %d", ErrConfig, rows, cols, MaxGrid)
	}
	t := &Tiles{geometry: g, ys: bounds(g.Height, rows), xs: bounds(g.Width, cols), sum: sumFunc(g.Dtype)}
	return t, nil
}

func bounds(length, n int) []int {
	n = min(n, length)
	bs := make([]int, n+1)
	for i := range bs {
		bs[i] = i * length / n
	}
	return bs
}

// Grid is the number of tiles along y and x.
func (t *Tiles) Grid() (rows, cols int) { return len(t.ys) - 1, len(t.xs) - 1 }

// Values is the number of means of a frame: 1 + rows·cols.
func (t *Tiles) Values() int {
	rows, cols := t.Grid()
	return 1 + rows*cols
}

// Means writes the mean of the whole frame, then those of the tiles in C order, to dst, which has Values
// elements. pixels are one frame. Sums are exact; the error wraps ErrSize.
func (t *Tiles) Means(dst []float64, pixels []byte) error {
	g := t.geometry
	if len(dst) != t.Values() || len(pixels) != g.FrameBytes() {
		return fmt.Errorf("%w: means of %d bytes into %d values: a frame has %d, its grid %d",
			ErrSize, len(pixels), len(dst), g.FrameBytes(), t.Values())
	}
	var sums tileSums
	for plane := range g.Channels {
		at := plane * g.Height * g.Width * g.Dtype.Size()
		for y := 0; y < g.Height; y += sumRows {
			t.add(&sums, pixels[at:], y, min(sumRows, g.Height-y))
		}
	}
	t.means(dst, &sums)
	return nil
}

// tileSums are the sums of the tiles' samples, in C order.
type tileSums [MaxGrid * MaxGrid]uint64

// add adds rows y to y+n−1 of a plane.
func (t *Tiles) add(sums *tileSums, plane []byte, y, n int) {
	size := t.geometry.Dtype.Size()
	stride := t.geometry.Width * size
	rows, cols := t.Grid()
	r := y * rows / t.geometry.Height // y's row of tiles, or the one before
	for end := y + n; y < end; {
		for y >= t.ys[r+1] {
			r++
		}
		part := min(end, t.ys[r+1]) - y
		for c := range cols {
			sums[r*cols+c] += t.sum(plane[y*stride+t.xs[c]*size:], (t.xs[c+1]-t.xs[c])*size, stride, part)
		}
		y += part
	}
}

// means makes means of the sums of a whole frame.
func (t *Tiles) means(dst []float64, sums *tileSums) {
	dst[0] = t.total(sums)
	rows, cols := t.Grid()
	for r := range rows {
		for c := range cols {
			n := (t.ys[r+1] - t.ys[r]) * (t.xs[c+1] - t.xs[c]) * t.geometry.Channels
			dst[1+r*cols+c] = float64(sums[r*cols+c]) / float64(n)
		}
	}
}

// total is the mean of a whole frame.
func (t *Tiles) total(sums *tileSums) float64 {
	g, n, total := t.geometry, (len(t.ys)-1)*(len(t.xs)-1), uint64(0)
	for _, sum := range sums[:n] {
		total += sum
	}
	return float64(total) / float64(g.Height*g.Width*g.Channels)
}

// guess is the mean of every sixteenth row of a plane. With σ² the variance of a plane, it is within √15·σ of the mean.
func (t *Tiles) guess(plane []byte) float64 {
	const every = 16
	g := t.geometry
	row := g.Width * g.Dtype.Size()
	n := (g.Height + every - 1) / every
	return float64(t.sum(plane, row, every*row, n)) / float64(n*g.Width)
}

// Bytes is the memory that the tiles hold.
func (t *Tiles) Bytes() int64 { return sizeOf(t.ys) + sizeOf(t.xs) }

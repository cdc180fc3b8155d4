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
	rows, cols := t.Grid()
	total := uint64(0)
	for r := range rows {
		sums := t.row(pixels, r)
		for c, sum := range sums[:cols] {
			total += sum
			n := (t.ys[r+1] - t.ys[r]) * (t.xs[c+1] - t.xs[c]) * g.Channels
			dst[1+r*cols+c] = float64(sum) / float64(n)
		}
	}
	dst[0] = float64(total) / float64(g.Height*g.Width*g.Channels)
	return nil
}

// row is the sums of the samples, over all planes, of a row of tiles. It goes through the memory in order, but for
// sumRows rows at a time.
func (t *Tiles) row(pixels []byte, r int) (sums [MaxGrid]uint64) {
	size := t.geometry.Dtype.Size()
	stride := t.geometry.Width * size
	for plane := range t.geometry.Channels {
		top := plane * t.geometry.Height
		bottom := top + t.ys[r+1]
		for y := top + t.ys[r]; y < bottom; y += sumRows {
			for c := range len(t.xs) - 1 {
				from, n := y*stride+t.xs[c]*size, (t.xs[c+1]-t.xs[c])*size
				sums[c] += t.sum(pixels[from:], n, stride, min(sumRows, bottom-y))
			}
		}
	}
	return sums
}

// Bytes is the memory that the tiles hold.
func (t *Tiles) Bytes() int64 { return sizeOf(t.ys) + sizeOf(t.xs) }

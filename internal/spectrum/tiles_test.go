package spectrum_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMeansAreExact(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(1, 1, frames.Uint8), mono(1, 1, frames.Uint16), mono(3, 5, frames.Uint8), mono(8, 8, frames.Uint16),
		mono(17, 131, frames.Uint8), mono(61, 33, frames.Uint16), mono(2, 70_001, frames.Uint8), mono(1, 70_003, frames.Uint16),
		{Height: 9, Width: 31, Channels: 3, Dtype: frames.Uint8}, {Height: 40, Width: 41, Channels: 3, Dtype: frames.Uint16},
	} {
		for _, grid := range [][2]int{{1, 1}, {8, 8}, {3, 32}} {
			for _, bright := range []bool{false, true} {
				checkMeans(t, g, grid[0], grid[1], bright)
			}
		}
	}
}

func checkMeans(t *testing.T, g frames.Geometry, rows, cols int, bright bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(g.FrameBytes())))
	top := 1 << (8 * g.Dtype.Size())
	samples := make([]float64, g.Height*g.Width*g.Channels)
	for i := range samples {
		samples[i] = float64(r.IntN(top))
		if bright {
			samples[i] = float64(top - 1)
		}
	}
	tiles, err := spectrum.NewTiles(g, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float64, tiles.Values())
	if err := tiles.Means(got, encode(g, samples)); err != nil {
		t.Fatal(err)
	}
	rows, cols = min(rows, g.Height), min(cols, g.Width)
	if gr, gc := tiles.Grid(); gr != rows || gc != cols || len(got) != 1+rows*cols {
		t.Fatalf("%s: a grid of %d x %d with %d values, want %d x %d", g, gr, gc, len(got), rows, cols)
	}
	want, count := make([]float64, len(got)), make([]float64, len(got))
	for i, v := range samples {
		y, x := i/g.Width%g.Height, i%g.Width
		// The tile of a pixel is the last whose lower bound is not above it.
		tr, tc := ((y+1)*rows-1)/g.Height, ((x+1)*cols-1)/g.Width
		for _, at := range []int{0, 1 + tr*cols + tc} {
			want[at] += v
			count[at]++
		}
	}
	for i := range got {
		if got[i] != want[i]/count[i] {
			t.Errorf("%s grid %dx%d value %d: %v, want %v", g, rows, cols, i, got[i], want[i]/count[i])
		}
	}
}

func TestTilesRefuseNonsense(t *testing.T) {
	g := mono(4, 4, frames.Uint8)
	for _, grid := range [][2]int{{0, 1}, {1, 0}, {33, 1}, {1, -2}} {
		if _, err := spectrum.NewTiles(g, grid[0], grid[1]); !errors.Is(err, spectrum.ErrConfig) {
			t.Errorf("grid %v: %v", grid, err)
		}
	}
	tiles, err := spectrum.NewTiles(g, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := tiles.Means(make([]float64, 5), make([]byte, 15)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("a short frame: %v", err)
	}
	if err := tiles.Means(make([]float64, 4), make([]byte, 16)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("too few values: %v", err)
	}
}

func BenchmarkMeans(b *testing.B) {
	for _, g := range []frames.Geometry{mono(2048, 2048, frames.Uint16), mono(512, 512, frames.Uint8), mono(64, 64, frames.Uint8)} {
		b.Run(fmt.Sprint(g), func(b *testing.B) {
			tiles, err := spectrum.NewTiles(g, 8, 8)
			if err != nil {
				b.Fatal(err)
			}
			pixels, dst := make([]byte, g.FrameBytes()), make([]float64, tiles.Values())
			b.SetBytes(int64(len(pixels)))
			b.ReportAllocs()
			for b.Loop() {
				if err := tiles.Means(dst, pixels); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package fft

import (
	"errors"
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/dsp/fourier"
)

// both are the inner loops for this processor and the portable ones.
func both() map[string]*kernels {
	return map[string]*kernels{"fastest": fastest(), "portable": portable()}
}

func TestSmallSizes(t *testing.T) {
	for name, k := range both() {
		for rows := 1; rows <= 24; rows++ {
			for cols := 1; cols <= 24; cols++ {
				checkSize(t, name, k, rows, cols, definition)
			}
		}
	}
}

func TestEverySmoothSide(t *testing.T) {
	for name, k := range both() {
		sides := []int{1024, 1200, 1920, 2048, 2304, 4096, 5120}
		for n := 1; n <= 800; n++ {
			if smooth(n) {
				sides = append(sides, n)
			}
		}
		for _, n := range sides {
			checkSize(t, name, k, n, 2, byGonum)
			checkSize(t, name, k, 1, 2*n, byGonum)
			checkSize(t, name, k, 1, n, byGonum)
		}
	}
}

func TestOtherSides(t *testing.T) {
	for name, k := range both() {
		for _, n := range []int{17, 19, 34, 53, 59, 97, 127, 257, 289, 509, 1021, 2056, 2448} {
			checkSize(t, name, k, n, 8, byGonum)
			checkSize(t, name, k, 3, n, byGonum)
			checkSize(t, name, k, 3, 2*n, byGonum)
			checkSize(t, name, k, n, 1, byGonum)
			checkSize(t, name, k, 1, n, byGonum)
		}
		checkSize(t, name, k, 101, 1009, byGonum)
	}
	checkSize(t, "fastest", fastest(), 1009, 1013, byGonum)
}

func TestCameraSizes(t *testing.T) {
	for _, size := range [][2]int{{480, 640}, {512, 512}, {243, 405}, {600, 1024}} {
		checkSize(t, "fastest", fastest(), size[0], size[1], byGonum)
	}
	checkSize(t, "portable", portable(), 384, 512, byGonum)
}

func TestRandomSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		for name, k := range both() {
			checkSize(t, name, k, 1+r.IntN(200), 1+r.IntN(200), byGonum)
		}
	}
}

func FuzzSizes(f *testing.F) {
	f.Add(uint16(16), uint16(16), uint64(1))
	f.Add(uint16(1), uint16(7), uint64(2))
	f.Fuzz(func(t *testing.T, rows, cols uint16, seed uint64) {
		h, w := 1+int(rows%128), 1+int(cols%128)
		for name, k := range both() {
			x := noise(h*w, seed)
			compare(t, fmt.Sprintf("%s %d x %d", name, h, w), forward(t, k, Config{Rows: h, Cols: w}, x), byGonum(x, h, w))
		}
	})
}

func checkSize(t *testing.T, name string, k *kernels, rows, cols int, want func(x []float32, rows, cols int) []complex128) {
	t.Helper()
	x := noise(rows*cols, uint64(rows*10_000+cols))
	got := forward(t, k, Config{Rows: rows, Cols: cols}, x)
	compare(t, fmt.Sprintf("%s %d x %d", name, rows, cols), got, want(x, rows, cols))
}

// compare holds got to the precision that is promised: 1e-6 in the root mean square, 1e-5 anywhere.
func compare(t *testing.T, what string, got []complex64, want []complex128) {
	t.Helper()
	norm, sum, worst := 0.0, 0.0, 0.0
	for i, v := range want {
		d := cmplx.Abs(complex128(got[i]) - v)
		norm += real(v)*real(v) + imag(v)*imag(v)
		sum += d * d
		if !(d <= worst) { // which is so of a NaN
			worst = d
		}
	}
	rms := math.Sqrt(norm / float64(len(want)))
	if err := math.Sqrt(sum / float64(len(want))); !(err <= 1e-6*rms && worst <= 1e-5*rms) {
		t.Errorf("%s: root mean square error %.2g, largest %.2g, of %.2g", what, err, worst, rms)
	}
}

// forward transforms x in a workspace of its own.
func forward(t *testing.T, k *kernels, cfg Config, x []float32) []complex64 {
	t.Helper()
	p, err := newPlan(cfg, k)
	if err != nil {
		t.Fatal(err)
	}
	w := p.NewWorkspace()
	if _, err := w.LoadFloat32(x, cfg.Cols, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]complex64, cfg.Rows*p.Half())
	if err := w.Coefficients(got); err != nil {
		t.Fatal(err)
	}
	return got
}

// definition is the spectrum by its definition.
func definition(x []float32, rows, cols int) []complex128 {
	out := make([]complex128, rows*(cols/2+1))
	sums := make([]complex128, rows*(cols/2+1))
	for y := range rows {
		for k := range cols/2 + 1 {
			for j := range cols {
				sums[y*(cols/2+1)+k] += complex(float64(x[y*cols+j]), 0) * unit(k*j, cols)
			}
		}
	}
	for ky := range rows {
		for k := range cols/2 + 1 {
			for y := range rows {
				out[ky*(cols/2+1)+k] += sums[y*(cols/2+1)+k] * unit(ky*y, rows)
			}
		}
	}
	return out
}

func unit(i, n int) complex128 { return cmplx.Rect(1, -2*math.Pi*float64(i%n)/float64(n)) }

// byGonum is the spectrum by gonum, in float64.
func byGonum(x []float32, rows, cols int) []complex128 {
	g := newGonum(rows, cols)
	g.forward(x)
	return g.out
}

// gonum is the transform that others use in Go: by rows, then by columns, eight at a time.
type gonum struct {
	rows, cols int
	row        *fourier.FFT
	column     *fourier.CmplxFFT
	in         []float64
	out, block []complex128
}

func newGonum(rows, cols int) *gonum {
	return &gonum{
		rows: rows, cols: cols, row: fourier.NewFFT(cols), column: fourier.NewCmplxFFT(rows),
		in: make([]float64, cols), out: make([]complex128, rows*(cols/2+1)), block: make([]complex128, 8*rows),
	}
}

func (g *gonum) forward(x []float32) {
	half := g.cols/2 + 1
	for y := range g.rows {
		for i, v := range x[y*g.cols : (y+1)*g.cols] {
			g.in[i] = float64(v)
		}
		g.row.Coefficients(g.out[y*half:(y+1)*half], g.in)
	}
	for k := 0; k < half; k += 8 {
		n := min(8, half-k)
		for y := range g.rows {
			for i := range n {
				g.block[i*g.rows+y] = g.out[y*half+k+i]
			}
		}
		for i := range n {
			c := g.block[i*g.rows : (i+1)*g.rows]
			g.column.Coefficients(c, c)
		}
		for y := range g.rows {
			for i := range n {
				g.out[y*half+k+i] = g.block[i*g.rows+y]
			}
		}
	}
}

func noise(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	xs := make([]float32, n)
	for i := range xs {
		xs[i] = float32(r.NormFloat64())
	}
	return xs
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Rows: 1}, {Cols: 1}, {Rows: -4, Cols: 4}, {Rows: 4, Cols: MaxSide + 1},
		{Rows: 4, Cols: 4, WeightsY: make([]float64, 3)}, {Rows: 4, Cols: 4, WeightsX: make([]float64, 5)},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	p, err := New(Config{Rows: 10, Cols: 6})
	if err != nil {
		t.Fatal(err)
	}
	w := p.NewWorkspace()
	for _, c := range []struct{ length, stride int }{{59, 6}, {60, 5}, {0, 6}, {68, 7}, {100, math.MaxInt}, {100, -6}} {
		if _, err := w.LoadUint8(make([]byte, c.length), c.stride, 0); !errors.Is(err, ErrSize) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := w.LoadUint16(make([]byte, 119), 12, 0); !errors.Is(err, ErrSize) {
		t.Errorf("half a sample is missing: %v", err)
	}
	if _, err := w.LoadFloat32(make([]float32, 59), 6, 0); !errors.Is(err, ErrSize) {
		t.Errorf("a sample is missing: %v", err)
	}
	if err := w.Coefficients(make([]complex64, 39)); !errors.Is(err, ErrSize) {
		t.Errorf("too small a destination: %v", err)
	}
}

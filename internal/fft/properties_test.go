package fft

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/cmplx"
	"slices"
	"sync"
	"testing"
)

// someSizes have every path: even and odd, with and without large factors, less than a strip and more.
var someSizes = [][2]int{{1, 1}, {5, 3}, {16, 16}, {17, 34}, {24, 45}, {60, 128}, {33, 77}, {128, 90}}

func TestImpulse(t *testing.T) {
	for name, k := range both() {
		for _, size := range someSizes {
			rows, cols := size[0], size[1]
			y, x := rows/3, cols/2
			plane := make([]float32, rows*cols)
			plane[y*cols+x] = 1
			want := make([]complex128, rows*(cols/2+1))
			for i := range want {
				ky, kx := i/(cols/2+1), i%(cols/2+1)
				want[i] = unit(ky*y, rows) * unit(kx*x, cols)
			}
			compare(t, fmt.Sprintf("%s %v", name, size), forward(t, k, Config{Rows: rows, Cols: cols}, plane), want)
		}
	}
}

func TestShift(t *testing.T) {
	for name, k := range both() {
		for _, size := range someSizes {
			rows, cols := size[0], size[1]
			x, moved := noise(rows*cols, 3), make([]float32, rows*cols)
			dy, dx := rows/4, cols/3
			for i, v := range x {
				moved[(i/cols+dy)%rows*cols+(i%cols+dx)%cols] = v
			}
			want := widenC(forward(t, k, Config{Rows: rows, Cols: cols}, x))
			for i := range want {
				ky, kx := i/(cols/2+1), i%(cols/2+1)
				want[i] *= unit(ky*dy, rows) * unit(kx*dx, cols)
			}
			compare(t, fmt.Sprintf("%s %v", name, size), forward(t, k, Config{Rows: rows, Cols: cols}, moved), want)
		}
	}
}

func TestLinearity(t *testing.T) {
	for name, k := range both() {
		for _, size := range someSizes {
			cfg := Config{Rows: size[0], Cols: size[1]}
			a, b := noise(size[0]*size[1], 4), noise(size[0]*size[1], 5)
			sum := make([]float32, len(a))
			for i := range sum {
				sum[i] = 2*a[i] - b[i]
			}
			want := widenC(forward(t, k, cfg, a))
			for i, v := range forward(t, k, cfg, b) {
				want[i] = 2*want[i] - complex128(v)
			}
			compare(t, fmt.Sprintf("%s %v", name, size), forward(t, k, cfg, sum), want)
		}
	}
}

// TestParseval checks the power against the sum of the squares that the load returns, and both against the
// samples.
func TestParseval(t *testing.T) {
	for name, k := range both() {
		for _, size := range someSizes {
			rows, cols := size[0], size[1]
			p, err := newPlan(Config{Rows: rows, Cols: cols}, k)
			if err != nil {
				t.Fatal(err)
			}
			w := p.NewWorkspace()
			x := noise(rows*cols, 6)
			want := 0.0
			for _, v := range x {
				want += (float64(v) - 0.25) * (float64(v) - 0.25)
			}
			energy, err := w.LoadFloat32(x, cols, 0.25)
			if err != nil {
				t.Fatal(err)
			}
			total := 0.0
			w.Columns(func(kx int, lines []float32) {
				for i, v := range lines {
					switch c := kx + i%8; {
					case c > cols/2:
					case c == 0 || 2*c == cols:
						total += float64(v) * float64(v)
					default:
						total += 2 * float64(v) * float64(v)
					}
				}
			})
			total /= float64(rows * cols)
			if math.Abs(energy-want) > 1e-6*want || math.Abs(total-want) > 1e-6*want {
				t.Errorf("%s %v: samples %v, loaded %v, spectrum %v", name, size, want, energy, total)
			}
		}
	}
}

func TestColumnsAreThoseOfTheCoefficients(t *testing.T) {
	for name, k := range both() {
		for _, size := range someSizes {
			rows, cols := size[0], size[1]
			p, err := newPlan(Config{Rows: rows, Cols: cols}, k)
			if err != nil {
				t.Fatal(err)
			}
			x := noise(rows*cols, 7)
			want := forward(t, k, Config{Rows: rows, Cols: cols}, x)
			w := p.NewWorkspace()
			read := 0
			w.BeforeRows(func(y, n int) {
				if y != read || n != min(8, rows-y) {
					t.Errorf("%s %v: %d rows from %d on, %d are read", name, size, n, y, read)
				}
				read += n
			})
			if _, err := w.LoadFloat32(x, cols, 0); err != nil {
				t.Fatal(err)
			}
			if read != rows {
				t.Errorf("%s %v: told of %d rows", name, size, read)
			}
			next := 0
			w.Columns(func(kx int, lines []float32) {
				if kx != next || len(lines) != 16*rows {
					t.Fatalf("%s %v: %d numbers from column %d on, want %d from %d", name, size, len(lines), kx, 16*rows, next)
				}
				next += 8
				for i := range 8 * rows {
					ky, j := i/8, i%8
					v := complex(lines[16*ky+j], lines[16*ky+8+j])
					if kx+j > cols/2 {
						if cmplx.IsNaN(complex128(v)) || cmplx.IsInf(complex128(v)) {
							t.Errorf("%s %v: %v behind the last column", name, size, v)
						}
					} else if v != want[ky*p.Half()+kx+j] {
						t.Errorf("%s %v: %v at (%d, %d), want %v", name, size, v, ky, kx+j, want[ky*p.Half()+kx+j])
					}
				}
			})
			if next < p.Half() {
				t.Errorf("%s %v: %d columns of %d", name, size, next, p.Half())
			}
		}
	}
}

// TestSamplesOfEveryKind loads the same numbers as 8 and 16 bits and as float32, from odd addresses, out of the
// middle of wider frames, with a window and a mean.
func TestSamplesOfEveryKind(t *testing.T) {
	const mean = 100.3
	for name, k := range both() {
		for _, size := range someSizes {
			rows, cols := size[0], size[1]
			cfg := Config{Rows: rows, Cols: cols, WeightsY: ramp(rows), WeightsX: ramp(cols)}
			stride := cols + 5
			small, large, floats := make([]byte, 1+rows*stride), make([]byte, 1+2*rows*stride), make([]float32, 1+rows*stride)
			weighed := make([]float32, rows*cols)
			for i := range rows * stride {
				v := byte(i * i / 7)
				small[1+i] = v
				binary.LittleEndian.PutUint16(large[1+2*i:], 200*uint16(v))
				floats[1+i] = float32(v)
				if y, x := i/stride, i%stride; x < cols {
					weighed[y*cols+x] = float32((float64(v) - mean) * cfg.WeightsY[y] * cfg.WeightsX[x])
				}
			}
			want := byGonum(weighed, rows, cols)
			p, err := newPlan(cfg, k)
			if err != nil {
				t.Fatal(err)
			}
			for kind, load := range map[string]func(w *Workspace) (float64, error){
				"uint8":   func(w *Workspace) (float64, error) { return w.LoadUint8(small[1:], stride, mean) },
				"float32": func(w *Workspace) (float64, error) { return w.LoadFloat32(floats[1:], stride, mean) },
				"rows": func(w *Workspace) (float64, error) {
					return w.LoadRows(func(y int, row []float32) { copy(row, floats[1+y*stride:]) }, mean), nil
				},
			} {
				checkLoad(t, fmt.Sprintf("%s %v %s", name, size, kind), p.NewWorkspace(), load, want)
			}
			for i := range want {
				want[i] *= 200
			}
			checkLoad(t, fmt.Sprintf("%s %v uint16", name, size), p.NewWorkspace(), func(w *Workspace) (float64, error) {
				return w.LoadUint16(large[1:], 2*stride, 200*mean)
			}, want)
		}
	}
}

func checkLoad(t *testing.T, what string, w *Workspace, load func(*Workspace) (float64, error), want []complex128) {
	t.Helper()
	total := 0.0 // by Parseval's identity
	for i, v := range want {
		e := real(v)*real(v) + imag(v)*imag(v)
		if kx := i % w.plan.half; kx > 0 && 2*kx != w.plan.cols {
			e *= 2
		}
		total += e / float64(w.plan.rows*w.plan.cols)
	}
	if energy, err := load(w); err != nil || math.Abs(energy-total) > 1e-5*total {
		t.Fatalf("%s: energy %v, want %v (%v)", what, energy, total, err)
	}
	got := make([]complex64, len(want))
	if err := w.Coefficients(got); err != nil {
		t.Fatal(err)
	}
	compare(t, what, got, want)
}

func ramp(n int) []float64 {
	ws := make([]float64, n)
	for i := range ws {
		ws[i] = 1 - float64(i)/float64(2*n)
	}
	return ws
}

// TestBrightFrames: a contrast of a few counts on full brightness keeps its precision.
func TestBrightFrames(t *testing.T) {
	const rows, cols = 48, 64
	for name, k := range both() {
		pixels, x := make([]byte, 2*rows*cols), make([]float32, rows*cols)
		for i := range x {
			v := uint16(65000 + i*i%7)
			binary.LittleEndian.PutUint16(pixels[2*i:], v)
			x[i] = float32(float64(v) - 65003.1)
		}
		p, err := newPlan(Config{Rows: rows, Cols: cols}, k)
		if err != nil {
			t.Fatal(err)
		}
		checkLoad(t, name, p.NewWorkspace(), func(w *Workspace) (float64, error) {
			return w.LoadUint16(pixels, 2*cols, 65003.1)
		}, byGonum(x, rows, cols))
	}
}

func TestBothKindsOfInnerLoopsAgree(t *testing.T) {
	for _, size := range append([][2]int{{96, 150}, {180, 240}, {225, 128}}, someSizes...) {
		cfg := Config{Rows: size[0], Cols: size[1]}
		x := noise(size[0]*size[1], 8)
		compare(t, fmt.Sprint(size), forward(t, fastest(), cfg, x), widenC(forward(t, portable(), cfg, x)))
	}
}

func TestWorkspacesShareAPlan(t *testing.T) {
	p, err := New(Config{Rows: 60, Cols: 96})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			x := noise(60*96, uint64(i))
			w, want := p.NewWorkspace(), forward(t, fastest(), Config{Rows: 60, Cols: 96}, x)
			got := make([]complex64, len(want))
			for range 5 {
				_, _ = w.LoadFloat32(x, 96, 0)
				if err := w.Coefficients(got); err != nil || !slices.Equal(got, want) {
					t.Errorf("plane %d is another when others are transformed: %v", i, err)
				}
			}
		})
	}
	work.Wait()
}

// TestNothingStaysOfThePlanesBefore transforms one plane a hundred times: nothing grows beside its last column.
func TestNothingStaysOfThePlanesBefore(t *testing.T) {
	for name, k := range both() {
		for _, size := range slices.Concat(someSizes, [][2]int{{300, 400}, {64, 64}, {200, 30}}) {
			p, err := newPlan(Config{Rows: size[0], Cols: size[1]}, k)
			if err != nil {
				t.Fatal(err)
			}
			w, x := p.NewWorkspace(), noise(size[0]*size[1], 8)
			var first, lines []float32
			for i := range 100 {
				if _, err := w.LoadFloat32(x, size[1], 0); err != nil {
					t.Fatal(err)
				}
				lines = lines[:0]
				w.Columns(func(_ int, part []float32) { lines = append(lines, part...) })
				if i == 0 {
					first = slices.Clone(lines)
				}
			}
			if !slices.Equal(lines, first) {
				t.Errorf("%s %v: the hundredth transform is not the first", name, size)
			}
			for _, v := range lines {
				if math.IsNaN(float64(v)) || math.Abs(float64(v)) > 1e6 {
					t.Fatalf("%s %v: %v in the columns", name, size, v)
				}
			}
		}
	}
}

func TestNothingIsAllocatedForAPlane(t *testing.T) {
	for name, k := range both() {
		for _, size := range [][2]int{{32, 64}, {59, 53}} {
			p, err := newPlan(Config{Rows: size[0], Cols: size[1]}, k)
			if err != nil {
				t.Fatal(err)
			}
			w, dst, pixels := p.NewWorkspace(), make([]complex64, size[0]*p.Half()), make([]byte, 2*size[0]*size[1])
			sum := float32(0)
			visit := func(_ int, lines []float32) { sum += lines[0] }
			if n := testing.AllocsPerRun(5, func() {
				_, _ = w.LoadUint16(pixels, 2*size[1], 5)
				_ = w.Coefficients(dst)
				_, _ = w.LoadUint16(pixels, 2*size[1], 5)
				w.Columns(visit)
			}); n != 0 {
				t.Errorf("%s %v: %v allocations", name, size, n)
			}
		}
	}
}

// TestBytes holds what is stated before against what is allocated.
func TestBytes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2048, 2048}, {1000, 59}, {59, 1000}, {127, 127}} {
		p, err := New(Config{Rows: size[0], Cols: size[1]})
		if err != nil {
			t.Fatal(err)
		}
		w := p.NewWorkspace()
		if got, want := Bytes(size[0], size[1]), 4*int64(len(w.strips)+len(w.a)+len(w.b)); got != want {
			t.Errorf("a workspace of %d bytes for %v is said to need %d", want, size, got)
		}
	}
	if n := Bytes(2048, 2048); n > 2048*2048*17/4 {
		t.Errorf("2048 x 2048: %d bytes", n)
	}
	if n := Bytes(0, 5) + Bytes(5, MaxSide+1); n != 0 {
		t.Errorf("no transforms need %d bytes", n)
	}
}

func widenC(xs []complex64) []complex128 {
	out := make([]complex128, len(xs))
	for i, x := range xs {
		out[i] = complex128(x)
	}
	return out
}

package fft

import (
	"fmt"
	"math"
)

// MaxSide is the largest number of rows and of columns.
const MaxSide = 1 << 20

// Config describes a transform.
type Config struct {
	// Rows and Cols are the size of the planes, each 1 to MaxSide. Any size can be transformed; a side with a
	// prime factor over 13 takes two to three times as long, an odd number of columns up to twice.
	Rows, Cols int
	// WeightsY and WeightsX are a window: sample (y, x) is multiplied with WeightsY[y]·WeightsX[x]. They have
	// Rows and Cols elements, or none for the weight 1.
	WeightsY, WeightsX []float64
}

// Plan is how planes of one size are transformed. It does not change and may be used by many workspaces at a
// time.
type Plan struct {
	rows, cols int
	layout
	wy, wx []float32
	row    *line     // of half the length where cols is even
	column *line     // of rows
	tw     []float32 // the kernels' untangle tells what
	k      *kernels
}

// layout is the shape of a workspace.
type layout struct {
	half   int // columns of the spectrum: cols/2 + 1
	strips int // of eight columns
	stride int // from one strip to the next, floats
	buffer int // the length of each of the two buffers, floats
}

func newLayout(rows, cols int) layout {
	l := layout{half: cols/2 + 1}
	l.strips = (l.half + lanes - 1) / lanes
	// Strips whose distance is a multiple of a power of two would fall into the same few lines of the cache.
	l.stride = lineFloats * ((rows+lanes-1)/lanes*lanes + lanes)
	// A guard, the longest line, and what is read after its end where the columns are padded to whole strips.
	l.buffer = lineFloats * (guard + max(lineLength(rowLength(cols)), lineLength(rows), lanes*l.strips) + guard)
	return l
}

func (l layout) bytes() int64 { return 4 * (int64(l.strips)*int64(l.stride) + 2*int64(l.buffer)) }

// rowLength is the length of the complex transform of rows: half of an even one.
func rowLength(cols int) int {
	if cols%2 == 0 {
		return cols / 2
	}
	return cols
}

// Bytes is the memory that a workspace for planes of one size needs, about 4 bytes an element; 0 for a size that New
// refuses. It allocates nothing.
func Bytes(rows, cols int) int64 {
	if rows < 1 || rows > MaxSide || cols < 1 || cols > MaxSide {
		return 0
	}
	return newLayout(rows, cols).bytes()
}

// New makes a plan. The error wraps ErrConfig.
func New(cfg Config) (*Plan, error) { return newPlan(cfg, fastest()) }

func newPlan(cfg Config, k *kernels) (*Plan, error) {
	if cfg.Rows < 1 || cfg.Rows > MaxSide || cfg.Cols < 1 || cfg.Cols > MaxSide {
		return nil, fmt.Errorf("%w: a plane of %d x %d: each side is 1 to %d", ErrConfig, cfg.Rows, cfg.Cols, MaxSide)
	}
	if n := len(cfg.WeightsY); n != 0 && n != cfg.Rows {
		return nil, fmt.Errorf("%w: %d weights for %d rows", ErrConfig, n, cfg.Rows)
	}
	if n := len(cfg.WeightsX); n != 0 && n != cfg.Cols {
		return nil, fmt.Errorf("%w: %d weights for %d columns", ErrConfig, n, cfg.Cols)
	}
	p := &Plan{rows: cfg.Rows, cols: cfg.Cols, layout: newLayout(cfg.Rows, cfg.Cols), k: k}
	p.row, p.column = newLine(rowLength(p.cols), k), newLine(p.rows, k)
	scale := 1.0
	if p.even() {
		scale = 0.5 // untangling doubles
		p.tw = make([]float32, 0, 2*lanes*p.strips)
		for j := range lanes * p.strips {
			sin, cos := math.Sincos(2 * math.Pi * float64(j) / float64(p.cols))
			p.tw = append(p.tw, float32(-sin), float32(-cos))
		}
	}
	p.wy, p.wx = weights(cfg.WeightsY, p.rows, scale), weights(cfg.WeightsX, p.cols, 1)
	return p, nil
}

// even says whether rows are transformed as half as many complex numbers.
func (p *Plan) even() bool { return p.cols%2 == 0 }

func weights(ws []float64, n int, scale float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale)
		if len(ws) > 0 {
			out[i] = float32(scale * ws[i])
		}
	}
	return out
}

// Half is the number of columns of the spectra, Cols/2 + 1.
func (p *Plan) Half() int { return p.half }

// Bytes is the memory of the plan's tables, about 16 bytes for each row and column.
func (p *Plan) Bytes() int64 {
	return p.row.bytes() + p.column.bytes() + 4*int64(len(p.wy)+len(p.wx)+len(p.tw))
}

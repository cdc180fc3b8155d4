package fft

import (
	"fmt"
	"unsafe"
)

// Workspace is the memory for the transform of one plane at a time: a plane is loaded, then its spectrum is
// taken, once. A workspace is used by one goroutine at a time; its methods allocate nothing.
type Workspace struct {
	plan   *Plan
	strips []float32
	a, b   []float32
	rows   rows
}

// NewWorkspace allocates a workspace, of the size that [Bytes] states.
func (p *Plan) NewWorkspace() *Workspace {
	return &Workspace{plan: p, strips: aligned(p.strips * p.stride), a: aligned(p.buffer), b: aligned(p.buffer)}
}

// aligned makes n floats that begin with a cache line.
func aligned(n int) []float32 {
	s := make([]float32, n+lineFloats)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))/4) & (lineFloats - 1)
	return s[skip : skip+n : skip+n]
}

// Coefficients writes the loaded plane's spectrum, Rows × Half elements in C order, to dst. The error wraps
// ErrSize.
func (w *Workspace) Coefficients(dst []complex64) error {
	p := w.plan
	if len(dst) != p.rows*p.half {
		return fmt.Errorf("%w: %d coefficients, a spectrum has %d x %d", ErrSize, len(dst), p.rows, p.half)
	}
	for s := range p.strips {
		strip := w.column(s)
		kx := lanes * s
		if kx+lanes <= p.half {
			p.k.interleave(dst[kx:], strip, p.half, p.rows)
			continue
		}
		for ky := range p.rows {
			line := strip[lineFloats*ky : lineFloats*(ky+1)]
			for j := range p.half - kx {
				dst[ky*p.half+kx+j] = complex(line[j], line[lanes+j])
			}
		}
	}
	return nil
}

// Power transforms the loaded plane and calls visit with its power spectrum, eight columns at a time:
// power[8·ky+j] is |X[ky,kx+j]|², for kx+j up to Cols/2; what follows in the last call is undefined. What visit is
// given stays as it is until the next plane is loaded.
func (w *Workspace) Power(visit func(kx int, power []float32)) {
	p := w.plan
	for s := range p.strips {
		strip := w.column(s)
		p.k.power(strip, strip, p.rows)
		visit(lanes*s, strip[:lanes*p.rows:lanes*p.rows])
	}
}

// PowerAt is |X[ky,kx]|², kx up to Cols/2, of the plane whose power was taken last.
func (w *Workspace) PowerAt(ky, kx int) float32 {
	return w.strips[kx/lanes*w.plan.stride+lanes*ky+kx%lanes]
}

// column transforms the columns of a strip.
func (w *Workspace) column(s int) []float32 {
	p := w.plan
	strip := w.strips[s*p.stride : s*p.stride+lineFloats*p.rows]
	p.column.inPlace(strip, w.a, w.b)
	return strip
}

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
	before func(y, n int)
}

// NewWorkspace allocates a workspace, of the size that [Bytes] states.
func (p *Plan) NewWorkspace() *Workspace {
	return &Workspace{plan: p, strips: aligned(p.strips * p.stride), a: aligned(p.buffer), b: aligned(p.buffer)}
}

// BeforeRows has f called before rows y to y+n−1, eight or what is left, of each plane are read from then on: what else
// reads them there finds them, or leaves them, in the processor's cache.
func (w *Workspace) BeforeRows(f func(y, n int)) { w.before = f }

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
	w.Columns(func(kx int, lines []float32) {
		if kx+lanes <= p.half {
			p.k.interleave(dst[kx:], lines, p.half, p.rows)
			return
		}
		for ky := range p.rows {
			line := lines[lineFloats*ky : lineFloats*(ky+1)]
			for j := range p.half - kx {
				dst[ky*p.half+kx+j] = complex(line[j], line[lanes+j])
			}
		}
	})
	return nil
}

// Columns calls visit with the loaded plane's spectrum, eight columns at a time, from left to right: lines[16·ky+j] is
// the real part of X[ky,kx+j], lines[16·ky+8+j] the imaginary one, for kx+j up to Cols/2; what follows in the last
// call are finite numbers without a meaning, the same for the same plane. The lines are visit's until it returns, and in the processor's cache.
func (w *Workspace) Columns(visit func(kx int, lines []float32)) {
	p := w.plan
	n := lineFloats * p.rows
	for s := range p.strips {
		at := s * p.stride
		lines := p.column.apart(w.strips[at:at+n], w.a, w.b)
		visit(lanes*s, lines[:n:n])
	}
}

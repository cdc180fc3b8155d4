//go:build fftw

// Package fftw is the transform that others measure theirs against, FFTW 3 in float32. It is for benchmarks
// only: it needs cgo and Debian's libfftw3-dev.
package fftw

// #cgo LDFLAGS: -lfftw3f -lm
// #include <fftw3.h>
import "C"

import (
	"errors"
	"unsafe"
)

// Plan is a measured plan (FFTW_MEASURE) for one thread, with memory of its own.
type Plan struct {
	// In is a plane, Out its spectrum, rows × (cols/2 + 1), both in C order.
	In   []float32
	Out  []complex64
	plan C.fftwf_plan
}

// New measures which plan is fastest, which can take seconds.
func New(rows, cols int) (*Plan, error) {
	n, m := rows*cols, rows*(cols/2+1)
	in, out := C.fftwf_malloc(C.size_t(4*n)), C.fftwf_malloc(C.size_t(8*m))
	if in == nil || out == nil {
		return nil, errors.New("no memory for the planes")
	}
	p := &Plan{In: unsafe.Slice((*float32)(in), n), Out: unsafe.Slice((*complex64)(out), m)}
	p.plan = C.fftwf_plan_dft_r2c_2d(C.int(rows), C.int(cols), (*C.float)(in), (*C.fftwf_complex)(out), C.FFTW_MEASURE)
	if p.plan == nil {
		return nil, errors.New("no plan")
	}
	return p, nil
}

// Execute transforms In to Out.
func (p *Plan) Execute() { C.fftwf_execute(p.plan) }

// Close frees the memory.
func (p *Plan) Close() {
	C.fftwf_destroy_plan(p.plan)
	C.fftwf_free(unsafe.Pointer(unsafe.SliceData(p.In)))
	C.fftwf_free(unsafe.Pointer(unsafe.SliceData(p.Out)))
}

package fft

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// LoadUint8 takes the samples of a plane over, minus mean and weighed. Row y begins at pixels[y·stride]. It
// returns the sum of the squares of the weighed samples. The error wraps ErrSize.
func (w *Workspace) LoadUint8(pixels []byte, stride int, mean float64) (float64, error) {
	return w.integers(pixels, stride, 1, mean)
}

// LoadUint16 is LoadUint8 for little-endian samples of 16 bits: the stride is in bytes, and any.
func (w *Workspace) LoadUint16(pixels []byte, stride int, mean float64) (float64, error) {
	return w.integers(pixels, stride, 2, mean)
}

func (w *Workspace) integers(pixels []byte, stride, size int, mean float64) (float64, error) {
	if err := w.check(len(pixels), stride, size); err != nil {
		return 0, err
	}
	// Both subtractions are exact but for the rounding of rest.
	whole := math.Round(max(math.MinInt32/2, min(math.MaxInt32/2, mean)))
	w.rows.whole, w.rows.rest = uint32(int32(whole)), float32(mean-whole)
	return w.load(pixels, stride, size), nil
}

// LoadFloat32 is LoadUint8 for samples in float32. The stride is in samples.
func (w *Workspace) LoadFloat32(samples []float32, stride int, mean float64) (float64, error) {
	if err := w.check(len(samples), stride, 1); err != nil {
		return 0, err
	}
	whole := float32(mean)
	w.rows.whole, w.rows.rest = math.Float32bits(whole), float32(mean-float64(whole))
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(samples))), 4*len(samples))
	return w.load(bytes, 4*stride, 4), nil
}

// LoadRows is LoadFloat32 for planes that exist nowhere as a whole: read writes row y, Cols samples, to row. It is
// called once for each row, in order.
func (w *Workspace) LoadRows(read func(y int, row []float32), mean float64) float64 {
	p := w.plan
	whole := float32(mean)
	w.rows.whole, w.rows.rest = math.Float32bits(whole), float32(mean-float64(whole))
	// The buffer that fill does not write to has room for eight rows.
	buffer := w.b
	if !p.even() {
		buffer = w.a
	}
	eight := buffer[:lanes*p.cols]
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(eight))), 4*len(eight))
	energy := 0.0
	w.rows.ahead = 0
	for y := 0; y < p.rows; y += lanes {
		n := min(lanes, p.rows-y)
		for i := range n {
			read(y+i, eight[i*p.cols:(i+1)*p.cols])
		}
		for i := range w.rows.offset {
			at := min(i, n-1)
			w.rows.offset[i], w.rows.wy[i] = 4*p.cols*at, p.wy[y+at]
		}
		energy += w.eight(y, n, bytes, 4)
	}
	return w.scaled(energy)
}

func (w *Workspace) check(length, stride, size int) error {
	p := w.plan
	if row := p.cols * size; stride < row || length < row || (length-row)/stride < p.rows-1 {
		return fmt.Errorf("%w: %d, rows %d apart, for a plane of %d rows of %d", ErrSize, length, stride, p.rows, row)
	}
	return nil
}

// load transforms the rows, eight at a time, and writes them to the strips.
func (w *Workspace) load(pixels []byte, stride, size int) float64 {
	p := w.plan
	energy := 0.0
	w.rows.ahead = lanes * stride
	for y := 0; y < p.rows; y += lanes {
		for i := range w.rows.offset {
			// What lies below the last row is computed and not used.
			at := min(y+i, p.rows-1)
			w.rows.offset[i], w.rows.wy[i] = at*stride, p.wy[at]
		}
		energy += w.eight(y, min(lanes, p.rows-y), pixels, size)
	}
	return w.scaled(energy)
}

// eight transforms the eight rows from y on, of which n exist, and returns these rows' energy.
func (w *Workspace) eight(y, n int, pixels []byte, size int) float64 {
	p := w.plan
	if w.before != nil {
		w.before(y, n)
	}
	a, b := w.a[guard*lineFloats:], w.b[guard*lineFloats:]
	if p.even() {
		w.fill(a, pixels, size)
	} else {
		w.fill(b, pixels, size)
		widen(a, b, p.cols)
	}
	energy := 0.0
	for _, e := range w.rows.energy[:n] {
		energy += float64(e)
	}
	result, _ := p.row.forward(a, b)
	w.store(y, &result[0] == &b[0])
	return energy
}

// scaled is the energy of weights that are halved where rows are untangled.
func (w *Workspace) scaled(energy float64) float64 {
	if w.plan.even() {
		return 4 * energy
	}
	return energy
}

// store writes eight rows' transforms, in the second buffer or in the first, to the strips.
func (w *Workspace) store(y int, second bool) {
	p, buffer := w.plan, w.a
	if second {
		buffer = w.b
	}
	// Beside the last column lie zeros: what the buffer had before would grow from plane to plane.
	first := buffer[guard*lineFloats:]
	whole := lanes * p.strips
	if !p.even() {
		clear(first[min(p.cols, whole)*lineFloats : whole*lineFloats])
		p.k.scatter(w.strips[y*lineFloats:], buffer, p.stride, p.strips)
		return
	}
	n := p.cols / 2
	copy(first[n*lineFloats:(n+1)*lineFloats], first)
	clear(first[(n+1)*lineFloats : whole*lineFloats])
	clear(buffer[:guard*lineFloats])
	p.k.untangle(w.strips[y*lineFloats:], buffer, p.stride, p.strips, p.tw, n)
}

// fill loads eight rows, transposed.
func (w *Workspace) fill(dst []float32, pixels []byte, size int) {
	p := w.plan
	blocks := p.cols / lanes
	load, one := p.k.loadFloat, sampleFloat
	switch size {
	case 1:
		load, one = p.k.load8, sample8
	case 2:
		load, one = p.k.load16, sample16
	}
	w.rows.energy = [lanes]float32{}
	if blocks > 0 {
		load(dst, pixels, p.wx, &w.rows, blocks)
	}
	for x := lanes * blocks; x < p.cols; x++ {
		for i, offset := range w.rows.offset {
			v := (one(pixels[offset+x*size:], w.rows.whole) - w.rows.rest) * p.wx[x] * w.rows.wy[i]
			dst[lanes*x+i] = v
			w.rows.energy[i] += v * v
		}
	}
}

func sample8(b []byte, whole uint32) float32 { return float32(int32(b[0]) - int32(whole)) }

func sample16(b []byte, whole uint32) float32 {
	return float32(int32(binary.LittleEndian.Uint16(b)) - int32(whole))
}

func sampleFloat(b []byte, whole uint32) float32 {
	return math.Float32frombits(binary.NativeEndian.Uint32(b)) - math.Float32frombits(whole)
}

// widen makes lines of n eights of real numbers.
func widen(dst, src []float32, n int) {
	for i := range n {
		copy(dst[lineFloats*i:lineFloats*i+lanes], src[lanes*i:])
		clear(dst[lineFloats*i+lanes : lineFloats*(i+1)])
	}
}

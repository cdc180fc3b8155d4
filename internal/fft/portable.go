package fft

import (
	"encoding/binary"
	"math"
)

func load8Go(dst []float32, src []byte, wx []float32, rows *rows, blocks int) {
	n := lanes * blocks
	whole := int32(rows.whole)
	for i, offset := range rows.offset {
		row, energy := src[offset:offset+n], float32(0)
		for j, v := range row {
			u := (float32(int32(v)-whole) - rows.rest) * wx[j] * rows.wy[i]
			dst[lanes*j+i] = u
			energy += u * u
		}
		rows.energy[i] = energy
	}
}

func load16Go(dst []float32, src []byte, wx []float32, rows *rows, blocks int) {
	n := lanes * blocks
	whole := int32(rows.whole)
	for i, offset := range rows.offset {
		row, energy := src[offset:offset+2*n], float32(0)
		for j := range n {
			v := binary.LittleEndian.Uint16(row[2*j : 2*j+2])
			u := (float32(int32(v)-whole) - rows.rest) * wx[j] * rows.wy[i]
			dst[lanes*j+i] = u
			energy += u * u
		}
		rows.energy[i] = energy
	}
}

func loadFloatGo(dst []float32, src []byte, wx []float32, rows *rows, blocks int) {
	n := lanes * blocks
	whole := math.Float32frombits(rows.whole)
	for i, offset := range rows.offset {
		row, energy := src[offset:offset+4*n], float32(0)
		for j := range n {
			v := math.Float32frombits(binary.NativeEndian.Uint32(row[4*j : 4*j+4]))
			u := (v - whole - rows.rest) * wx[j] * rows.wy[i]
			dst[lanes*j+i] = u
			energy += u * u
		}
		rows.energy[i] = energy
	}
}

func untangleGo(dst, src []float32, stride, blocks int, tw []float32, half int) {
	for b := range blocks {
		strip := (*[lanes * lineFloats]float32)(dst[b*stride:])
		for j := range lanes {
			k := lanes*b + j
			up := (*[lineFloats]float32)(src[lineFloats*(guard+k):])
			down := (*[lineFloats]float32)(src[lineFloats*(guard+half-k):])
			re, im := tw[2*k], tw[2*k+1]
			for i := range lanes {
				a, c := up[i], down[i]
				d, e := up[lanes+i], down[lanes+i]
				strip[lineFloats*i+j] = a + c + re*(a-c) - im*(d+e)
				strip[lineFloats*i+lanes+j] = d - e + re*(d+e) + im*(a-c)
			}
		}
	}
}

func scatterGo(dst, src []float32, stride, blocks int) {
	for b := range blocks {
		strip := (*[lanes * lineFloats]float32)(dst[b*stride:])
		for j := range lanes {
			line := (*[lineFloats]float32)(src[lineFloats*(guard+lanes*b+j):])
			for i := range lanes {
				strip[lineFloats*i+j] = line[i]
				strip[lineFloats*i+lanes+j] = line[lanes+i]
			}
		}
	}
}

func interleaveGo(dst []complex64, src []float32, stride, lines int) {
	for i := range lines {
		x := (*[lineFloats]float32)(src[lineFloats*i:])
		c := (*[lanes]complex64)(dst[stride*i:])
		for j := range lanes {
			c[j] = complex(x[j], x[lanes+j])
		}
	}
}

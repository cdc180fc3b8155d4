package spectrum

import (
	"encoding/binary"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// region is a rectangle of a frame.
type region struct{ y, x, height, width int }

// center is the largest region around the frame's middle, with the frame's proportions, whose pixels
// number at most most. Its sizes are even where it is smaller than the frame.
func center(g frames.Geometry, most int) region {
	h, w := g.Height, g.Width
	for h*w > most {
		h, w = max(1, h*15/16), max(1, w*15/16)
		if h > 1 {
			h &^= 1
		}
		if w > 1 {
			w &^= 1
		}
	}
	return region{y: (g.Height - h) / 2, x: (g.Width - w) / 2, height: h, width: w}
}

// load writes the region's samples to dst as float32, the sum of the planes of a colour frame, and returns
// the sum of all. Both are exact: three 16-bit samples have 18 bits.
func load(dst []float32, g frames.Geometry, r region, pixels []byte) uint64 {
	size := g.Dtype.Size()
	total := uint64(0)
	for y := range r.height {
		row := dst[y*r.width : (y+1)*r.width]
		for c := range g.Channels {
			from := ((c*g.Height+r.y+y)*g.Width + r.x) * size
			src := pixels[from : from+r.width*size]
			switch {
			case c > 0:
				total += add(row, src, g.Dtype)
			case g.Dtype == frames.Uint16:
				total += set16(row, src)
			default:
				total += set8(row, src)
			}
		}
	}
	return total
}

func set8(dst []float32, src []byte) uint64 {
	src = src[:len(dst)]
	sum := uint64(0)
	for i, v := range src {
		dst[i] = float32(v)
		sum += uint64(v)
	}
	return sum
}

func set16(dst []float32, src []byte) uint64 {
	sum := uint64(0)
	for i := range dst {
		v := binary.LittleEndian.Uint16(src[2*i : 2*i+2])
		dst[i] = float32(v)
		sum += uint64(v)
	}
	return sum
}

func add(dst []float32, src []byte, d frames.Dtype) uint64 {
	sum := uint64(0)
	for i := range dst {
		var v uint16
		if d == frames.Uint16 {
			v = binary.LittleEndian.Uint16(src[2*i : 2*i+2])
		} else {
			v = uint16(src[i])
		}
		dst[i] += float32(v)
		sum += uint64(v)
	}
	return sum
}

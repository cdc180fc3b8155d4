package spectrum

import (
	"encoding/binary"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// region is a rectangle of a frame.
type region struct{ y, x, height, width int }

// center is the largest region around the frame's middle, with the frame's proportions, that fits. Its sizes are
// even where it is smaller than the frame. One pixel is taken to fit.
func center(g frames.Geometry, fits func(height, width int) bool) region {
	h, w := g.Height, g.Width
	for h*w > 1 && !fits(h, w) {
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

// sumOf is the exact sum of the region's samples, over the planes of a colour frame.
func sumOf(g frames.Geometry, r region, pixels []byte) uint64 {
	size, sum := g.Dtype.Size(), sumFunc(g.Dtype)
	stride := g.Width * size
	total := uint64(0)
	for c := range g.Channels {
		for y := 0; y < r.height; y += sumRows {
			from := (c*g.Height+r.y+y)*stride + r.x*size
			total += sum(pixels[from:], r.width*size, stride, min(sumRows, r.height-y))
		}
	}
	return total
}

// addPlanes writes the sums of the planes, row y of the region, to dst. They are exact: three 16-bit samples
// have 18 bits.
func addPlanes(dst []float32, g frames.Geometry, r region, y int, pixels []byte) {
	size := g.Dtype.Size()
	clear(dst)
	for c := range g.Channels {
		from := ((c*g.Height+r.y+y)*g.Width + r.x) * size
		src := pixels[from : from+r.width*size]
		if g.Dtype == frames.Uint16 {
			for i := range dst {
				dst[i] += float32(binary.LittleEndian.Uint16(src[2*i : 2*i+2]))
			}
			continue
		}
		for i, v := range src {
			dst[i] += float32(v)
		}
	}
}

package file

import "math"

// ycbcr turns planar YCbCr of 8 bits into planar RGB by ITU-R BT.601 in fixed point: the tables hold the terms of
//
//	R = y + 1.402·cr    G = y − 0.344136·cb − 0.714136·cr    B = y + 1.772·cb
//
// for each sample value, the limited range's scale (255/219 for luma, 255/224 for chroma) included.
type ycbcr struct {
	width, height int
	subX, subY    int
	y             [256]int32 // with the half for rounding
	rCr, gCr      [256]int32
	gCb, bCb      [256]int32
}

const fixed = 20 // bits after the point

func newYCbCr(width, height, subX, subY int, full bool) *ycbcr {
	c := &ycbcr{width: width, height: height, subX: subX, subY: subY}
	const kr, kb = 0.299, 0.114 // BT.601
	const kg = 1 - kr - kb
	black, luma, chroma := 16.0, 255.0/219, 255.0/224
	if full {
		black, luma, chroma = 0, 1, 1
	}
	fix := func(v float64) int32 { return int32(math.Round(v * (1 << fixed))) }
	for i := range 256 {
		d := (float64(i) - 128) * chroma
		c.y[i] = fix((float64(i)-black)*luma + 0.5)
		c.rCr[i] = fix(2 * (1 - kr) * d)
		c.bCb[i] = fix(2 * (1 - kb) * d)
		c.gCr[i] = fix(-2 * (1 - kr) * kr / kg * d)
		c.gCb[i] = fix(-2 * (1 - kb) * kb / kg * d)
	}
	return c
}

// chroma is the size of the two chroma planes: rounded up, so that odd edges have a sample.
func (c *ycbcr) chroma() (w, h int) {
	return (c.width + c.subX - 1) / c.subX, (c.height + c.subY - 1) / c.subY
}

// bytes is the size of the three planes.
func (c *ycbcr) bytes() int {
	w, h := c.chroma()
	return c.width*c.height + 2*w*h
}

// rgb writes the three colour planes of one frame into dst.
func (c *ycbcr) rgb(dst, planes []byte) {
	n := c.width * c.height
	cw, ch := c.chroma()
	luma, cb, cr := planes[:n], planes[n:n+cw*ch], planes[n+cw*ch:]
	r, g, b := dst[:n], dst[n:2*n], dst[2*n:3*n]
	for y := range c.height {
		from := y * c.width
		line := luma[from : from+c.width]
		cbLine, crLine := cb[y/c.subY*cw:][:cw], cr[y/c.subY*cw:][:cw]
		rLine, gLine, bLine := r[from:][:len(line)], g[from:][:len(line)], b[from:][:len(line)]
		for x, v := range line {
			u, w := cbLine[x/c.subX], crLine[x/c.subX]
			base := c.y[v]
			rLine[x] = clip8(base + c.rCr[w])
			gLine[x] = clip8(base + c.gCb[u] + c.gCr[w])
			bLine[x] = clip8(base + c.bCb[u])
		}
	}
}

func clip8(v int32) byte { return byte(min(max(v>>fixed, 0), 255)) }

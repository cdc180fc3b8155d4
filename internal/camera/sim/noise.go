package sim

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

const (
	noiseSamples = 1 << 16 // in each table
	noiseBlock   = 512     // pixels that share their offsets into the tables
	background   = 100     // counts
	sigma        = 10      // counts
)

// noise adds two tables of samples eight bytes at a time: no sum of three terms overflows its pixel, so no
// carry crosses from one pixel to the next.
type noise struct {
	seed          uint64
	sample        int // bytes
	a, b          []byte
	row           int // bytes
	top, left     int // of the spot's box: row, and bytes in it
	spot          []byte
	boxRow, boxes int // bytes in a row of the box, rows
}

func newNoise(c Config) *noise {
	size := c.Dtype.Size()
	n := &noise{seed: c.Seed, sample: size, row: c.Width * size}
	r := rand.New(rand.NewPCG(c.Seed, golden))
	n.a, n.b = gaussian(r, size), gaussian(r, size)

	// The spot ends where it is less than half a count high.
	height := 1000.0
	if size == 1 {
		height = 40
	}
	s := max(float64(min(c.Width, c.Height))/20, 0.5)
	radius := s * math.Sqrt(2*math.Log(2*height))
	cx, cy := float64(c.Width-1)/2, float64(c.Height-1)/2
	x0, x1 := max(0, int(cx-radius)), min(c.Width, int(cx+radius)+2)
	y0, y1 := max(0, int(cy-radius)), min(c.Height, int(cy+radius)+2)
	n.top, n.left, n.boxRow, n.boxes = y0, x0*size, (x1-x0)*size, y1-y0
	n.spot = make([]byte, n.boxRow*n.boxes)
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			dx, dy := (float64(x)-cx)/s, (float64(y)-cy)/s
			put(n.spot, (y-y0)*(x1-x0)+x-x0, size, math.Round(height*math.Exp(-(dx*dx+dy*dy)/2)))
		}
	}
	return n
}

// gaussian makes a table of samples of half the background and half the variance, and one block more.
func gaussian(r *rand.Rand, size int) []byte {
	t := make([]byte, (noiseSamples+noiseBlock)*size)
	for i := range noiseSamples + noiseBlock {
		// Rounding adds a twelfth to the variance of each term.
		v := background/2 + math.Sqrt(sigma*sigma/2-1.0/12)*r.NormFloat64()
		put(t, i, size, math.Round(min(max(v, 0), background)))
	}
	return t
}

func put(b []byte, i, size int, v float64) {
	if size == 1 {
		b[i] = byte(v)
	} else {
		binary.LittleEndian.PutUint16(b[2*i:], uint16(v))
	}
}

// Fill implements [Pattern].
func (n *noise) Fill(dst []byte, seq uint64) {
	key := splitmix64(n.seed ^ seq*golden)
	block := noiseBlock * n.sample
	for at := 0; at < len(dst); at += block {
		d := dst[at:min(at+block, len(dst))]
		key = splitmix64(key)
		a := int(key&(noiseSamples-1)) * n.sample
		b := int(key>>32&(noiseSamples-1)) * n.sample
		sum(d, n.a[a:a+len(d)], n.b[b:b+len(d)])
	}
	for y := range n.boxes {
		d := dst[(n.top+y)*n.row+n.left:][:n.boxRow]
		sum(d, d, n.spot[y*n.boxRow:(y+1)*n.boxRow])
	}
}

// sum writes a + b into d, all three of the same length. No pixel may overflow.
func sum(d, a, b []byte) {
	a, b = a[:len(d)], b[:len(d)]
	for len(d) >= 32 && len(a) >= 32 && len(b) >= 32 {
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(a)+binary.LittleEndian.Uint64(b))
		binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(a[8:])+binary.LittleEndian.Uint64(b[8:]))
		binary.LittleEndian.PutUint64(d[16:], binary.LittleEndian.Uint64(a[16:])+binary.LittleEndian.Uint64(b[16:]))
		binary.LittleEndian.PutUint64(d[24:], binary.LittleEndian.Uint64(a[24:])+binary.LittleEndian.Uint64(b[24:]))
		d, a, b = d[32:], a[32:], b[32:]
	}
	if len(d) == 0 {
		return
	}
	var ta, tb [32]byte
	copy(ta[:], a)
	copy(tb[:], b)
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(ta[i:], binary.LittleEndian.Uint64(ta[i:])+binary.LittleEndian.Uint64(tb[i:]))
	}
	copy(d, ta[:])
}

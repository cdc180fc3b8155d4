package sim

import (
	"encoding/binary"
	"math"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// wave splits the spatial sine by its addition theorem into factors of the column and of the row, so that a
// pixel costs two multiplications and no table of the frame's size is needed.
type wave struct {
	width, height int
	dtype         frames.Dtype
	mean, at, hz  float64
	fps           float64
	top           float64   // the largest value of the dtype
	reach         float64   // the largest spatial deviation
	sinX, cosX    []float64 // of each column, times mean·as
	sinY, cosY    []float64 // of each row
}

func newWave(c Config) *wave {
	w := &wave{
		width: c.Width, height: c.Height, dtype: c.Dtype, mean: c.Mean, at: c.At, hz: c.Hz, fps: c.FPS,
		top: maxValue(c.Dtype), reach: math.Abs(c.Mean * c.As),
	}
	w.sinX, w.cosX = turns(c.Width, c.KX, c.Mean*c.As)
	w.sinY, w.cosY = turns(c.Height, c.KY, 1)
	return w
}

// turns returns scale times the sine and cosine of 2π·k·i/n for each i below n.
func turns(n int, k, scale float64) (sin, cos []float64) {
	sin, cos = make([]float64, n), make([]float64, n)
	for i := range n {
		s, c := math.Sincos(2 * math.Pi * math.Mod(k*float64(i)/float64(n), 1))
		sin[i], cos[i] = scale*s, scale*c
	}
	return sin, cos
}

// Fill implements [Pattern].
func (w *wave) Fill(dst []byte, seq uint64) {
	_, turn := math.Modf(w.hz * float64(seq) / w.fps)
	level := w.mean * (1 + w.at*math.Sin(2*math.Pi*turn))
	// Where no pixel can leave the range, clipping is not needed.
	clip := level-w.reach < 0 || level+w.reach > w.top
	row := w.width * w.dtype.Size()
	for y := range w.height {
		d := dst[y*row : (y+1)*row]
		switch {
		case clip:
			w.clipped(d, level, w.sinY[y], w.cosY[y])
		case w.dtype == frames.Uint8:
			row8(d, w.sinX, w.cosX, level+0.5, w.sinY[y], w.cosY[y])
		default:
			row16(d, w.sinX, w.cosX, level+0.5, w.sinY[y], w.cosY[y])
		}
	}
}

func row8(d []byte, sinX, cosX []float64, level, sinY, cosY float64) {
	sinX, cosX = sinX[:len(d)], cosX[:len(d)]
	for x := range d {
		d[x] = byte(int32(level + sinX[x]*cosY + cosX[x]*sinY))
	}
}

func row16(d []byte, sinX, cosX []float64, level, sinY, cosY float64) {
	n := len(d) / 2
	sinX, cosX = sinX[:n], cosX[:n]
	for x := range n {
		binary.LittleEndian.PutUint16(d[2*x:2*x+2], uint16(int32(level+sinX[x]*cosY+cosX[x]*sinY)))
	}
}

func (w *wave) clipped(d []byte, level, sinY, cosY float64) {
	for x := range w.width {
		v := min(max(level+w.sinX[x]*cosY+w.cosX[x]*sinY, 0), w.top)
		n := uint32(v + 0.5)
		if w.dtype == frames.Uint8 {
			d[x] = byte(n)
		} else {
			binary.LittleEndian.PutUint16(d[2*x:], uint16(n))
		}
	}
}

package spectrum

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// MaxPreview is the longest side of a preview in pixels.
const MaxPreview = 512

const (
	previewQuality = 80
	// clipped is the part of the pixels that a stretch may clip at either end: 1 in 200.
	clipped = 200
)

// Stretch says how a preview's samples were made from the frame's: those up to Low are black, those from
// High on white, in between it is linear. 8-bit frames are shown as they are: Low 0, High 255.
type Stretch struct{ Low, High int }

// Preview makes small JPEG images of frames: each pixel is the mean of a square of the frame's pixels, and
// 16-bit samples are stretched so that 1 pixel in 200 is clipped at either end. A constant 16-bit frame is
// mid-grey. It is used by one goroutine at a time.
type Preview struct {
	geometry      frames.Geometry
	factor        int
	height, width int
	sums          []uint64
	small         []uint16 // planes one after the other
	histogram     []uint32
	gray          *image.Gray
	colour        *image.RGBA
	out           bytes.Buffer
}

// NewPreview makes the buffers.
func NewPreview(g frames.Geometry) (*Preview, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	f := (max(g.Height, g.Width) + MaxPreview - 1) / MaxPreview
	p := &Preview{geometry: g, factor: f, height: (g.Height + f - 1) / f, width: (g.Width + f - 1) / f}
	p.sums = make([]uint64, p.width)
	p.small = make([]uint16, g.Channels*p.height*p.width)
	if g.Dtype == frames.Uint16 {
		p.histogram = make([]uint32, 1<<16)
	}
	if g.Channels == 1 {
		p.gray = image.NewGray(image.Rect(0, 0, p.width, p.height))
	} else {
		p.colour = image.NewRGBA(image.Rect(0, 0, p.width, p.height))
	}
	return p, nil
}

// Load takes a frame over, scaled down: its pixels are not needed after the return.
func (p *Preview) Load(pixels []byte) error {
	g := p.geometry
	if len(pixels) != g.FrameBytes() {
		return fmt.Errorf("%w: a frame of %d bytes, %s has %d", ErrSize, len(pixels), g, g.FrameBytes())
	}
	stride := g.Width * g.Dtype.Size()
	for c := range g.Channels {
		for y := range p.height {
			clear(p.sums)
			top, bottom := y*p.factor, min((y+1)*p.factor, g.Height)
			for row := c*g.Height + top; row < c*g.Height+bottom; row++ {
				p.addRow(pixels[row*stride : (row+1)*stride])
			}
			p.meanRow(p.small[(c*p.height+y)*p.width:], bottom-top)
		}
	}
	return nil
}

func (p *Preview) addRow(src []byte) {
	step := p.factor * p.geometry.Dtype.Size()
	for x := range p.sums {
		part := src[x*step : min((x+1)*step, len(src))]
		if p.geometry.Dtype == frames.Uint16 {
			for ; len(part) >= 2; part = part[2:] {
				p.sums[x] += uint64(binary.LittleEndian.Uint16(part))
			}
			continue
		}
		for _, v := range part {
			p.sums[x] += uint64(v)
		}
	}
}

func (p *Preview) meanRow(dst []uint16, rows int) {
	for x, sum := range p.sums {
		n := uint64(rows * min(p.factor, p.geometry.Width-x*p.factor))
		dst[x] = uint16((sum + n/2) / n)
	}
}

// JPEG is the image of the frame loaded last, with its size. It is valid until the next call.
func (p *Preview) JPEG() (encoded []byte, height, width int, s Stretch, err error) {
	s = p.stretch()
	n := p.height * p.width
	for i := range n {
		if p.gray != nil {
			p.gray.Pix[i] = s.apply(p.small[i])
			continue
		}
		px := p.colour.Pix[4*i : 4*i+4]
		px[0], px[1], px[2], px[3] = s.apply(p.small[i]), s.apply(p.small[n+i]), s.apply(p.small[2*n+i]), 0xff
	}
	var img image.Image = p.gray
	if p.gray == nil {
		img = p.colour
	}
	p.out.Reset()
	if err := jpeg.Encode(&p.out, img, &jpeg.Options{Quality: previewQuality}); err != nil {
		return nil, 0, 0, s, fmt.Errorf("encoding a preview: %w", err)
	}
	return p.out.Bytes(), p.height, p.width, s, nil
}

// stretch finds the ends between which 16-bit samples are shown, the same for all planes.
func (p *Preview) stretch() Stretch {
	if p.histogram == nil {
		return Stretch{0, 255}
	}
	clear(p.histogram)
	for _, v := range p.small {
		p.histogram[v]++
	}
	spare := uint32(len(p.small) / clipped)
	s := Stretch{0, len(p.histogram) - 1}
	for n := p.histogram[s.Low]; n <= spare; n += p.histogram[s.Low] {
		s.Low++
	}
	for n := p.histogram[s.High]; n <= spare; n += p.histogram[s.High] {
		s.High--
	}
	return s
}

func (s Stretch) apply(v uint16) uint8 {
	switch x := int(v); {
	case s.High <= s.Low:
		return 128
	case x <= s.Low:
		return 0
	case x >= s.High:
		return 255
	default:
		return uint8((255*(x-s.Low) + (s.High-s.Low)/2) / (s.High - s.Low))
	}
}

// Bytes is the memory that the preview holds, its encoder's output at one byte a sample included.
func (p *Preview) Bytes() int64 {
	n := sizeOf(p.sums) + sizeOf(p.small) + sizeOf(p.histogram) + int64(len(p.small))
	if p.gray != nil {
		return n + sizeOf(p.gray.Pix)
	}
	return n + sizeOf(p.colour.Pix)
}

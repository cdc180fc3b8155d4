package spectrum

import "fmt"

// columnBlock is how many columns are transformed at a time: their elements in one row share a cache line.
const columnBlock = 8

// gonum2D is a Plan2D by rows, then by columns. It computes in float64 and keeps float32 between the two.
type gonum2D struct {
	height, width int
	row           *realLine
	column        line
	in            []float64
	out           []complex128
	block         []complex128 // columnBlock columns, one after the other
}

var _ Plan2D = (*gonum2D)(nil)

func newGonum2D(height, width int) *gonum2D {
	return &gonum2D{
		height: height,
		width:  width,
		row:    newRealLine(width),
		column: newLine(height),
		in:     make([]float64, width),
		out:    make([]complex128, width/2+1),
		block:  make([]complex128, columnBlock*height),
	}
}

func (p *gonum2D) Size() (height, width int) { return p.height, p.width }

func (p *gonum2D) Forward(dst []complex64, src []float32) error {
	half := p.width/2 + 1
	if len(src) != p.height*p.width || len(dst) != p.height*half {
		return fmt.Errorf("%w: %d samples into %d coefficients, a transform of %d x %d wants %d into %d", ErrSize,
			len(src), len(dst), p.height, p.width, p.height*p.width, p.height*half)
	}
	for y := range p.height {
		for x, v := range src[y*p.width : (y+1)*p.width] {
			p.in[x] = float64(v)
		}
		if err := p.row.Forward(p.out, p.in); err != nil {
			return err
		}
		for x, c := range p.out {
			dst[y*half+x] = complex64(c)
		}
	}
	for x := 0; x < half; x += columnBlock {
		p.columns(dst, x, min(columnBlock, half-x))
	}
	return nil
}

// columns transforms n columns of dst from column x on.
func (p *gonum2D) columns(dst []complex64, x, n int) {
	half := p.width/2 + 1
	for y := range p.height {
		for i, c := range dst[y*half+x : y*half+x+n] {
			p.block[i*p.height+y] = complex128(c)
		}
	}
	for i := range n {
		p.column.forward(p.block[i*p.height : (i+1)*p.height])
	}
	for y := range p.height {
		row := dst[y*half+x : y*half+x+n]
		for i := range row {
			row[i] = complex64(p.block[i*p.height+y])
		}
	}
}

func (p *gonum2D) Bytes() int64 {
	return p.row.Bytes() + p.column.bytes() + sizeOf(p.in) + sizeOf(p.out) + sizeOf(p.block)
}

package file

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/tiff"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// images is a sequence of stills of one geometry. Each is opened when its turn comes.
type images struct {
	is     about
	stills []still
}

var _ clip = (*images)(nil)

// still is one image: a PNG file, or a page of a TIFF file.
type still struct {
	path string
	kind imageKind
	page uint32 // where the page's directory lies
}

type imageKind int

const (
	unknownImage imageKind = iota
	pngImage
	tiffImage
)

// kindOf tells an image's kind by its first bytes.
func kindOf(magic []byte) imageKind {
	switch {
	case strings.HasPrefix(string(magic), pngMagic):
		return pngImage
	case strings.HasPrefix(string(magic), "II*\x00"), strings.HasPrefix(string(magic), "MM\x00*"):
		return tiffImage
	}
	return unknownImage
}

// openFolder takes the images of a folder, in natural order.
func openFolder(ctx context.Context, path string) (clip, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("%w file: %w", camera.ErrSource, err)
	}
	var names []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".png", ".tif", ".tiff":
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w file: folder %s has no image: want .png, .tif or .tiff", camera.ErrSource, path)
	}
	slices.SortFunc(names, natural)
	return openImages(ctx, names...)
}

// openImages reads the headers of all files and decodes the first image.
func openImages(ctx context.Context, names ...string) (clip, error) {
	s := &images{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.add(name); err != nil {
			return nil, fmt.Errorf("%w file: %w", camera.ErrSource, err)
		}
	}
	s.is.frames = uint64(len(s.stills))
	s.is.bits = 8 * s.is.geometry.Dtype.Size()
	s.is.model = "images"
	if err := s.read(0, make([]byte, s.is.geometry.FrameBytes())); err != nil {
		return nil, fmt.Errorf("%w file: %w", camera.ErrSource, err)
	}
	return s, nil
}

// add checks one file and appends its images.
func (s *images) add(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	magic := make([]byte, len(pngMagic))
	n, _ := f.ReadAt(magic, 0)
	pages := []uint32{0}
	kind := kindOf(magic[:n])
	switch kind {
	case pngImage:
		err = checkPNG(f, st.Size())
	case tiffImage:
		pages, err = checkTIFF(f, st.Size())
	default:
		err = fmt.Errorf("%w: it is neither PNG nor TIFF, whatever its name", ErrFormat)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, p := range pages {
		one := still{path: name, kind: kind, page: p}
		g, err := one.geometry(f, st.Size())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(s.stills) == 0 {
			s.is.geometry = g
		} else if first := s.stills[0].path; g != s.is.geometry && i > 0 && first == name {
			return fmt.Errorf("pages of unequal size: the first of %s is %s, page %d is %s", name, s.is.geometry, i+1, g)
		} else if g != s.is.geometry {
			return fmt.Errorf("images of unequal size: %s is %s, %s is %s", first, s.is.geometry, name, g)
		}
		s.stills = append(s.stills, one)
	}
	return nil
}

// reader gives the decoder the file as if the page were its first.
func (s still) reader(f io.ReaderAt, size int64) io.Reader {
	section := io.NewSectionReader(f, 0, size)
	if s.kind == tiffImage {
		return &pageReader{SectionReader: section, page: s.page}
	}
	return bufio.NewReaderSize(section, 1<<16)
}

func (s still) geometry(f io.ReaderAt, size int64) (frames.Geometry, error) {
	decode := png.DecodeConfig
	if s.kind == tiffImage {
		decode = tiff.DecodeConfig
	}
	c, err := decode(s.reader(f, size))
	if err != nil {
		return frames.Geometry{}, err
	}
	g := frames.Geometry{Width: c.Width, Height: c.Height, Channels: 3, Dtype: frames.Uint8}
	switch c.ColorModel {
	case color.GrayModel:
		g.Channels = 1
	case color.Gray16Model:
		g.Channels, g.Dtype = 1, frames.Uint16
	case color.RGBA64Model, color.NRGBA64Model:
		g.Dtype = frames.Uint16
	}
	return g, g.Validate()
}

func (s *images) about() about { return s.is }

func (s *images) close() error { return nil }

func (s *images) read(n uint64, dst []byte) error {
	one := s.stills[n]
	if err := s.decode(one, dst); err != nil {
		return fmt.Errorf("decode %s: %w", one.path, err)
	}
	return nil
}

func (s *images) decode(one still, dst []byte) error {
	f, err := os.Open(one.path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	decode := png.Decode
	if one.kind == tiffImage {
		decode = tiff.Decode
	}
	img, err := decode(one.reader(f, st.Size()))
	if err != nil {
		return err
	}
	return planar(dst, s.is.geometry, img)
}

// planar writes the image's samples into dst, colours as planes.
func planar(dst []byte, g frames.Geometry, img image.Image) error {
	size := img.Bounds().Size()
	if size != (image.Point{X: g.Width, Y: g.Height}) {
		return fmt.Errorf("it is %dx%d now, not %s", size.X, size.Y, g)
	}
	wrong := fmt.Errorf("its pixels decode to %T, not %s", img, g)
	want := func(channels int, d frames.Dtype) bool { return g.Channels == channels && g.Dtype == d }
	switch m := img.(type) {
	case *image.Gray:
		if !want(1, frames.Uint8) {
			return wrong
		}
		for y := range g.Height {
			copy(dst[y*g.Width:(y+1)*g.Width], m.Pix[y*m.Stride:])
		}
	case *image.Gray16:
		if !want(1, frames.Uint16) {
			return wrong
		}
		for y := range g.Height {
			swap(dst[2*y*g.Width:2*(y+1)*g.Width], m.Pix[y*m.Stride:], 2)
		}
	case *image.Paletted:
		if !want(3, frames.Uint8) {
			return wrong
		}
		paletted(dst, g, m)
	case *image.RGBA:
		return colour(dst, g, m.Pix, m.Stride, frames.Uint8)
	case *image.NRGBA:
		return colour(dst, g, m.Pix, m.Stride, frames.Uint8)
	case *image.RGBA64:
		return colour(dst, g, m.Pix, m.Stride, frames.Uint16)
	case *image.NRGBA64:
		return colour(dst, g, m.Pix, m.Stride, frames.Uint16)
	default:
		return wrong
	}
	return nil
}

// swap writes the big-endian 16-bit samples that lie step bytes apart in src as little-endian into dst.
func swap(dst, src []byte, step int) {
	for i := 0; i < len(dst); i, src = i+2, src[min(step, len(src)):] {
		binary.LittleEndian.PutUint16(dst[i:], binary.BigEndian.Uint16(src))
	}
}

// colour splits pixels of four samples, the last of which is alpha and left out.
func colour(dst []byte, g frames.Geometry, pix []byte, stride int, d frames.Dtype) error {
	if g.Channels != 3 || g.Dtype != d {
		return fmt.Errorf("its pixels decode to colours of %s, not %s", d, g)
	}
	row := g.Width * d.Size()
	for c := range 3 {
		for y := range g.Height {
			to, from := dst[(c*g.Height+y)*row:][:row], pix[y*stride+c*d.Size():]
			if d == frames.Uint16 {
				swap(to, from, 8)
				continue
			}
			for x := range to {
				to[x] = from[4*x]
			}
		}
	}
	return nil
}

func paletted(dst []byte, g frames.Geometry, m *image.Paletted) {
	n := g.Width * g.Height
	var table [256][3]byte
	for i, c := range m.Palette {
		nc := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = [3]byte{nc.R, nc.G, nc.B}
	}
	for y := range g.Height {
		for x, i := range m.Pix[y*m.Stride : y*m.Stride+g.Width] {
			for c, v := range table[i] {
				dst[c*n+y*g.Width+x] = v
			}
		}
	}
}

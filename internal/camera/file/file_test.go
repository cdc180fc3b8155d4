package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/image/tiff"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is a value that tells position and plane of every sample.
func sample(c, y, x int) uint16 { return uint16(c*20000 + y*301 + x*7 + 5) }

func gray16(w, h int) *image.Gray16 {
	m := image.NewGray16(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetGray16(x, y, color.Gray16{Y: sample(0, y, x)})
		}
	}
	return m
}

func gray8(w, h int, seed byte) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = byte(i)*3 + seed
	}
	return m
}

func nrgba(w, h int, alpha byte) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{R: byte(sample(0, y, x)), G: byte(sample(1, y, x)), B: byte(sample(2, y, x)), A: alpha})
		}
	}
	return m
}

func nrgba64(w, h int) *image.NRGBA64 {
	m := image.NewNRGBA64(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA64(x, y, color.NRGBA64{R: sample(0, y, x), G: sample(1, y, x), B: sample(2, y, x), A: 0xffff})
		}
	}
	return m
}

func pngBytes(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tiffBytes(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tiff.Encode(&b, m, &tiff.Options{Compression: tiff.Deflate, Predictor: true}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path, query string) (camera.Camera, error) {
	t.Helper()
	s, err := camera.ParseSource("file:" + path + "?" + query)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	cam, err := Open(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { cam.Close() })
	}
	return cam, err
}

// play opens a path and returns all its frames.
func play(t *testing.T, path string) (camera.Info, [][]byte) {
	t.Helper()
	cam, err := open(t, path, "fps=0")
	if err != nil {
		t.Fatal(err)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		g, err := cam.Grab(t.Context())
		if errors.Is(err, io.EOF) {
			return cam.Info(), all
		}
		if err != nil {
			t.Fatal(err)
		}
		if g.FrameID != uint64(len(all)) {
			t.Fatalf("frame %d has id %d", len(all), g.FrameID)
		}
		b := make([]byte, cam.Info().Geometry.FrameBytes())
		if err := cam.Retrieve(b); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
}

// planes is what sample says of 13×7 pixels, as planar little-endian samples.
func planes(channels int, d frames.Dtype) []byte {
	const w, h = 13, 7
	var b []byte
	for c := range channels {
		for y := range h {
			for x := range w {
				if d == frames.Uint8 {
					b = append(b, byte(sample(c, y, x)))
				} else {
					b = binary.LittleEndian.AppendUint16(b, sample(c, y, x))
				}
			}
		}
	}
	return b
}

func TestImageKinds(t *testing.T) {
	const w, h = 13, 7
	palette := color.Palette{color.RGBA{1, 2, 3, 255}, color.RGBA{200, 100, 50, 255}}
	pal := image.NewPaletted(image.Rect(0, 0, w, h), palette)
	wantPal := make([]byte, 3*w*h)
	for i := range pal.Pix {
		pal.Pix[i] = byte(i % 2)
		for c := range 3 {
			wantPal[c*w*h+i] = []byte{1, 2, 3, 200, 100, 50}[i%2*3+c]
		}
	}
	gray := gray8(w, h, 9)
	for _, tt := range []struct {
		name string
		img  image.Image
		geo  frames.Geometry
		want []byte
	}{
		{"gray8", gray, frames.Geometry{Height: h, Width: w, Channels: 1, Dtype: frames.Uint8}, gray.Pix},
		{"gray16", gray16(w, h), frames.Geometry{Height: h, Width: w, Channels: 1, Dtype: frames.Uint16}, planes(1, frames.Uint16)},
		{"rgb8", nrgba(w, h, 255), frames.Geometry{Height: h, Width: w, Channels: 3, Dtype: frames.Uint8}, planes(3, frames.Uint8)},
		{"rgba8", nrgba(w, h, 77), frames.Geometry{Height: h, Width: w, Channels: 3, Dtype: frames.Uint8}, planes(3, frames.Uint8)},
		{"rgb16", nrgba64(w, h), frames.Geometry{Height: h, Width: w, Channels: 3, Dtype: frames.Uint16}, planes(3, frames.Uint16)},
		{"palette", pal, frames.Geometry{Height: h, Width: w, Channels: 3, Dtype: frames.Uint8}, wantPal},
	} {
		for ext, b := range map[string][]byte{"png": pngBytes(t, tt.img), "tif": tiffBytes(t, tt.img)} {
			t.Run(tt.name+"."+ext, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "one."+ext)
				write(t, path, b)
				info, all := play(t, path)
				if info.Geometry != tt.geo || info.Frames != 1 || !info.CanPause || info.FPS != 0 {
					t.Errorf("info %+v, want geometry %s and one frame", info, tt.geo)
				}
				if len(all) != 1 || !bytes.Equal(all[0], tt.want) {
					t.Errorf("the pixels differ from the image's")
				}
			})
		}
	}
}

func TestFolderInNaturalOrder(t *testing.T) {
	dir := t.TempDir()
	names := []string{"f1.png", "f2.tif", "f9.PNG", "f10.tiff", "f100.png"}
	for i, n := range names {
		m := gray8(5, 4, byte(i))
		b := pngBytes(t, m)
		if strings.Contains(n, ".tif") {
			b = tiffBytes(t, m)
		}
		write(t, filepath.Join(dir, n), b)
	}
	write(t, filepath.Join(dir, "notes.txt"), []byte("not an image"))
	write(t, filepath.Join(dir, ".hidden.png"), []byte("not an image"))
	if err := os.Mkdir(filepath.Join(dir, "f3.png"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, all := play(t, dir)
	if len(all) != len(names) {
		t.Fatalf("%d frames, want %d", len(all), len(names))
	}
	for i, b := range all {
		if want := gray8(5, 4, byte(i)).Pix; !bytes.Equal(b, want) {
			t.Errorf("frame %d is not %s", i, names[i])
		}
	}
}

func TestNatural(t *testing.T) {
	want := []string{"a", "a01", "a1", "a2", "a02b", "a2c", "a10", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, natural)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// stack joins one-page TIFFs of the same byte order into one of several pages: each later page's offsets move by
// what lies before it.
func stack(t *testing.T, order binary.ByteOrder, pages ...[]byte) []byte {
	t.Helper()
	var out []byte
	var link int // where the offset of the next directory is to be written
	for _, p := range pages {
		p = slices.Clone(p)
		base := len(out)
		ifd := int(order.Uint32(p[4:]))
		n := int(order.Uint16(p[ifd:]))
		for i := range n {
			e := p[ifd+2+12*i:][:12]
			size := map[uint16]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8}[order.Uint16(e[2:])] * int(order.Uint32(e[4:]))
			switch {
			case size > 4:
				at := int(order.Uint32(e[8:]))
				order.PutUint32(e[8:], uint32(at+base))
				if order.Uint16(e) == tagStripOffsets {
					t.Fatal("more strips than this helper moves")
				}
			case order.Uint16(e) == tagStripOffsets:
				order.PutUint32(e[8:], order.Uint32(e[8:])+uint32(base))
			}
		}
		out = append(out, p...)
		if base > 0 {
			order.PutUint32(out[link:], uint32(base+ifd))
		}
		link = base + ifd + 2 + 12*n
		if len(out)%2 == 1 {
			out = append(out, 0)
		}
	}
	return out
}

func TestPagesOfATIFF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stack.tif")
	var pages [][]byte
	for i := range 4 {
		pages = append(pages, tiffBytes(t, gray8(6, 5, byte(10*i))))
	}
	write(t, path, stack(t, binary.LittleEndian, pages...))
	info, all := play(t, path)
	if info.Frames != 4 {
		t.Fatalf("%d frames, want 4", info.Frames)
	}
	for i, b := range all {
		if !bytes.Equal(b, gray8(6, 5, byte(10*i)).Pix) {
			t.Errorf("page %d differs", i)
		}
	}
	write(t, path, stack(t, binary.LittleEndian, pages[0], tiffBytes(t, gray8(5, 6, 0))))
	wantError(t, path, "page 2 is 5x6 uint8", "6x5 uint8")
}

// wantError opens a path that can't be opened: one line that has all of text.
func wantError(t *testing.T, path string, text ...string) {
	t.Helper()
	_, err := open(t, path, "")
	if !errors.Is(err, camera.ErrSource) {
		t.Errorf("%v, want ErrSource", err)
		return
	}
	for _, s := range append(text, path) {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	good, tif := pngBytes(t, gray16(40, 30)), tiffBytes(t, gray16(40, 30))

	wantError(t, at("absent.png"), "no such file")
	write(t, at("empty.png"), nil)
	wantError(t, at("empty.png"), "empty")
	for _, n := range []int{9, 20, 33, 40, len(good) / 2, len(good) - 1} {
		write(t, at("cut.png"), good[:n])
		wantError(t, at("cut.png"), "truncated PNG")
	}
	for _, n := range []int{6, 8, 100, len(tif) - 100} {
		write(t, at("cut.tif"), tif[:n])
		wantError(t, at("cut.tif"), "truncated TIFF")
	}
	bad := slices.Clone(good)
	bad[60] ^= 0xff // in the compressed pixels
	write(t, at("bad.png"), bad)
	wantError(t, at("bad.png"), "decode", "corrupt input")

	unequal := at("unequal")
	if err := os.Mkdir(unequal, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, unequal, "no image")
	write(t, filepath.Join(unequal, "a1.png"), pngBytes(t, gray8(5, 4, 0)))
	write(t, filepath.Join(unequal, "a2.png"), pngBytes(t, gray8(5, 4, 0)))
	write(t, filepath.Join(unequal, "a10.png"), pngBytes(t, gray8(7, 4, 0)))
	wantError(t, unequal, "unequal size", "a1.png is 5x4 uint8", "a10.png is 7x4 uint8")
	write(t, filepath.Join(unequal, "a10.png"), pngBytes(t, gray16(5, 4)))
	wantError(t, unequal, "a1.png is 5x4 uint8", "a10.png is 5x4 uint16")
	write(t, filepath.Join(unequal, "a10.png"), []byte("GIF89a"))
	wantError(t, unequal, "a10.png", "neither PNG nor TIFF")

	loop := slices.Clone(tiffBytes(t, gray8(2, 2, 0)))
	ifd := int(binary.LittleEndian.Uint32(loop[4:]))
	n := int(binary.LittleEndian.Uint16(loop[ifd:]))
	binary.LittleEndian.PutUint32(loop[ifd+2+12*n:], uint32(ifd))
	write(t, at("loop.tif"), loop)
	wantError(t, at("loop.tif"), "loop")

	write(t, at("video.avi"), []byte("RIFF....AVI LIST"))
	if _, err := open(t, at("video.avi"), ""); !errors.Is(err, ErrFormat) {
		t.Errorf("a video: %v, want ErrFormat", err)
	}
}

func TestVanishedImageFailsTheCamera(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.png", i)), pngBytes(t, gray8(5, 4, 0)))
	}
	cam, err := open(t, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "0.png")); err != nil {
		t.Fatal(err)
	}
	if _, err := cam.Grab(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cam.Retrieve(make([]byte, 20)); !errors.Is(err, camera.ErrFailed) {
		t.Errorf("%v, want ErrFailed", err)
	}
}

// TestMissingFile: the line says what is not there and what would be right.
func TestMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.y4m")
	_, err := open(t, path, "")
	if !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), path+": no such file") || !strings.Contains(err.Error(), "want a Y4M") {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("YUV4MPEG2 W1 H1 F1:1 Cmono\nFRAME\nx"))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00"))
	f.Add([]byte(pngMagic + "\x00\x00\x00\x0dIHDR"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Sizes that a small file can only claim would cost memory for nothing.
		if len(b) > 1<<12 {
			return
		}
		switch kindOf(b) {
		case pngImage:
			_ = checkPNG(bytes.NewReader(b), int64(len(b)))
			return
		case tiffImage:
			_, _ = checkTIFF(bytes.NewReader(b), int64(len(b)))
			return
		}
		path := filepath.Join(t.TempDir(), "f")
		write(t, path, b)
		cam, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			if !errors.Is(err, camera.ErrSource) {
				t.Fatalf("%v, want ErrSource", err)
			}
			return
		}
		defer cam.Close()
		if err := cam.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := cam.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := cam.Retrieve(make([]byte, cam.Info().Geometry.FrameBytes())); err != nil {
			t.Fatal(err)
		}
	})
}

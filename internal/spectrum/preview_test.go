package spectrum_test

import (
	"bytes"
	"errors"
	"flag"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

var update = flag.Bool("update", false, "write the golden files anew")

func preview(t *testing.T, g frames.Geometry, samples []float64) ([]byte, spectrum.Stretch) {
	t.Helper()
	p, err := spectrum.NewPreview(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(encode(g, samples)); err != nil {
		t.Fatal(err)
	}
	b, h, w, s, err := p.JPEG()
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds().Dx() != w || img.Bounds().Dy() != h || max(h, w) > spectrum.MaxPreview || min(h, w) < 1 {
		t.Errorf("%s: a preview of %d x %d, the image is %v", g, h, w, img.Bounds())
	}
	return b, s
}

func TestPreviewSizes(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(1, 1, frames.Uint8), mono(1, 1, frames.Uint16), mono(512, 512, frames.Uint16), mono(513, 3, frames.Uint8),
		mono(1, 5000, frames.Uint16), {Height: 700, Width: 1025, Channels: 3, Dtype: frames.Uint8}, {Height: 2, Width: 3, Channels: 3, Dtype: frames.Uint16},
	} {
		preview(t, g, make([]float64, g.Height*g.Width*g.Channels))
	}
}

// TestPreviewIsGolden compares a picture with testdata/preview.jpg, pixel by pixel.
func TestPreviewIsGolden(t *testing.T) {
	g := mono(900, 1100, frames.Uint16)
	samples := make([]float64, g.Height*g.Width)
	for i := range samples {
		y, x := float64(i/g.Width), float64(i%g.Width)
		samples[i] = math.Round(2000 + 1500*math.Exp(-((y-300)*(y-300)+(x-700)*(x-700))/40_000) + 200*math.Sin(x/40))
	}
	got, _ := preview(t, g, samples)
	path := filepath.Join("testdata", "preview.jpg")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the preview is not %s: %d bytes, want %d", path, len(got), len(want))
	}
}

func TestPreviewStretch(t *testing.T) {
	g := mono(20, 20, frames.Uint16)
	samples := make([]float64, 400)
	for i := range samples {
		samples[i] = 1000 + float64(i)
	}
	samples[0], samples[399] = 0, 65535 // outliers, within 1 in 200
	_, s := preview(t, g, samples)
	if s.Low != 1002 || s.High != 1397 {
		t.Errorf("stretched from %d to %d", s.Low, s.High)
	}
	for i := range samples {
		samples[i] = 777
	}
	b, s := preview(t, g, samples)
	if s.Low != 777 || s.High != 777 {
		t.Errorf("a constant frame is stretched from %d to %d", s.Low, s.High)
	}
	if gray := at(t, b, 10, 10); gray.R != 128 {
		t.Errorf("a constant frame is %v", gray)
	}
}

func TestPreviewShowsColoursInOrder(t *testing.T) {
	g := frames.Geometry{Height: 16, Width: 16, Channels: 3, Dtype: frames.Uint8}
	samples := make([]float64, 3*256)
	for i := range 256 {
		samples[i], samples[256+i], samples[512+i] = 200, 100, 20
	}
	b, _ := preview(t, g, samples)
	c := at(t, b, 8, 8)
	if d := func(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }; d(c.R, 200) > 3 || d(c.G, 100) > 3 || d(c.B, 20) > 3 {
		t.Errorf("the colour is %v, want 200, 100, 20", c)
	}
}

func at(t *testing.T, encoded []byte, x, y int) color.RGBA {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
	if !ok {
		t.Fatal("no colour")
	}
	return c
}

func TestPreviewRefusesNonsense(t *testing.T) {
	if _, err := spectrum.NewPreview(frames.Geometry{}); !errors.Is(err, frames.ErrGeometry) {
		t.Errorf("no geometry: %v", err)
	}
	p, err := spectrum.NewPreview(mono(3, 3, frames.Uint8))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(make([]byte, 8)); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("a short frame: %v", err)
	}
	if p.Bytes() <= 0 {
		t.Errorf("%d bytes", p.Bytes())
	}
}

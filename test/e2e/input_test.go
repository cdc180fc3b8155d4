package e2e_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestColourImages records a folder of colour images: the store has them in the order of their numbers, as planes of
// red, green and blue.
func TestColourImages(t *testing.T) {
	t.Parallel()
	const count, width, height = 12, 37, 23
	dir := t.TempDir()
	var want [][]byte
	for i := range count {
		picture := image.NewNRGBA(image.Rect(0, 0, width, height))
		planes := make([]byte, 3*width*height)
		for p := range width * height {
			c := color.NRGBA{R: byte(p + i), G: byte(3 * p), B: byte(200 - p*i), A: 255}
			picture.SetNRGBA(p%width, p/width, c)
			planes[p], planes[width*height+p], planes[2*width*height+p] = c.R, c.G, c.B
		}
		want = append(want, planes)
		var buf bytes.Buffer
		if err := png.Encode(&buf, picture); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("shot%d.png", i+1)), buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newStation(t, "colour")
	sum := record(t, s.start("--source", "file:"+dir, "--writers", "2", "--shard-frames", "5", "--pixel-size", "0.65um", "--meta", "sample=A7"), 0)
	if sum.EndedBy != run.EndedSource || sum.Captured != count || sum.Written != count {
		t.Errorf("ended by %s, captured %d, written %d", sum.EndedBy, sum.Captured, sum.Written)
	}
	bin.Verify(t, sum)
	r, err := store.OpenReader(vfs.OS{}, sum.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := r.Attributes()
	if g := a.Geometry; g != (frames.Geometry{Height: height, Width: width, Channels: 3, Dtype: frames.Uint8}) || a.PixelSizeUM != 0.65 || a.Meta["sample"] != "A7" {
		t.Errorf("frames of %s, pixels of %g µm, metadata %v", g, a.PixelSizeUM, a.Meta)
	}
	for i, planes := range want {
		got, err := r.Frame(nil, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, planes) {
			t.Errorf("image %d is not what it was", i)
		}
	}
	s.NothingLeft()
}

// TestDuration ends a run by its time.
func TestDuration(t *testing.T) {
	t.Parallel()
	s := newStation(t, "duration")
	if sum := s.end(s.start("--source", endless, "--duration", "1s", "--analyzers", "0"), 0); sum.EndedBy != run.EndedDuration || sum.Captured == 0 || sum.Analyzed != 0 {
		t.Errorf("ended by %s, captured %d, analysed %d", sum.EndedBy, sum.Captured, sum.Analyzed)
	}
	s.NothingLeft()
}

// record waits for the end of a run, whose exit code must be want, and returns its account.
func record(t *testing.T, r *programs.Running, want int) (sum run.Summary) {
	t.Helper()
	res := r.Wait(t)
	if res.Code != want {
		t.Fatalf("exit code %d, want %d\n%s%s", res.Code, want, res.Stdout, res.Stderr)
	}
	res.LastLine(t, &sum)
	return sum
}

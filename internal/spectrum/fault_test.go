package spectrum_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestFramesThatAreCutShort reads frames out of a mapped file that is cut short, in vector instructions too: the
// fault is an error, and the next frame is read as if nothing had been.
func TestFramesThatAreCutShort(t *testing.T) {
	for _, g := range []frames.Geometry{
		mono(64, 600, frames.Uint8), mono(64, 301, frames.Uint16), {Height: 60, Width: 200, Channels: 3, Dtype: frames.Uint8},
	} {
		cutFrame(t, g)
	}
}

func cutFrame(t *testing.T, g frames.Geometry) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "pixels"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := make([]byte, g.FrameBytes())
	for i := range whole {
		whole[i] = byte(i * i >> 3)
	}
	if _, err := f.Write(whole); err != nil {
		t.Fatal(err)
	}
	pixels, err := syscall.Mmap(int(f.Fd()), 0, len(whole), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	checkCut(t, g, f, whole, pixels)
	if err := syscall.Munmap(pixels); err != nil {
		t.Error(err)
	}
}

func checkCut(t *testing.T, g frames.Geometry, f *os.File, whole, pixels []byte) {
	t.Helper()
	tiles, err := spectrum.NewTiles(g, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowHann, Peaks: 3, MaxBytes: 1 << 20, Tiles: tiles})
	if err != nil {
		t.Fatal(err)
	}
	means := make([]float64, tiles.Values())
	reads := map[string]func() error{
		"means": func() error { return tiles.Means(means, pixels) },
		"load":  func() error { return s.Load(pixels) },
		"both":  func() error { return s.LoadMeans(means, pixels) },
	}
	look := func(cut bool) {
		t.Helper()
		for name, read := range reads {
			var err error
			fault := frames.Guard(pixels, func() { err = read() })
			if err != nil || cut && !errors.Is(fault, frames.ErrFault) || !cut && fault != nil {
				t.Errorf("%s %s: fault %v, error %v", g, name, fault, err)
			}
		}
	}
	look(false)
	if err := s.Load(pixels); err != nil {
		t.Fatal(err)
	}
	want := s.Compute()
	if err := f.Truncate(int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	look(true)
	if _, err := f.WriteAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	look(false)
	if err := s.Load(pixels); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.Compute()); diff != "" {
		t.Errorf("%s after a fault: %s", g, diff)
	}
}

package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// mapped is memory that lies in a file, and the file.
func mapped(t *testing.T, size int) ([]byte, *os.File) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "pixels"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	size = int(vfs.Pad(int64(size)))
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return mem, f
}

// cut is memory mapped from a file that was cut to its first page.
func cut(t *testing.T, size int) []byte {
	t.Helper()
	mem, f := mapped(t, size)
	if err := f.Truncate(vfs.Block); err != nil {
		t.Fatal(err)
	}
	return mem
}

// TestPixelsAreGone: pixels whose file was cut short are an error of the commit, not the end of the process.
func TestPixelsAreGone(t *testing.T) {
	for name, g := range map[string]frames.Geometry{
		"direct": {Height: 64, Width: 128, Channels: 1, Dtype: frames.Uint8},
		"packed": {Height: 13, Width: 700, Channels: 1, Dtype: frames.Uint8},
	} {
		for _, c := range []struct {
			name, codec string
			level       int
			sum         uint32
		}{{"none", "none", 0, 0}, {"none summed", "none", 0, 1}, {"zstd", "zstd", 1, 0}} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				spec := testSpec()
				spec.Geometry, spec.Codec, spec.Level = g, c.codec, c.level
				s := create(t, filepath.Join(t.TempDir(), "a.ome.zarr"), spec, store.Options{})
				sh, err := s.TakeShard(t.Context(), 0, 1)
				if err != nil {
					t.Fatal(err)
				}
				defer sh.Close()
				mem := cut(t, g.FrameBytes())
				for _, pixels := range [][]byte{mem[:g.FrameBytes()], mem[:g.FrameBytes():g.FrameBytes()]} {
					err := sh.Commit(t.Context(), []store.Frame{{Seq: 1, Pixels: pixels, Checksum: c.sum}}, nil)
					if !errors.Is(err, frames.ErrFault) || !errors.Is(err, store.ErrBroken) {
						t.Errorf("committing what is gone: %v", err)
					}
				}
				if st := sh.State(1); st != frames.Absent {
					t.Errorf("the frame is %s", st)
				}
			})
		}
	}
}

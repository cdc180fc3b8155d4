// Package memory_test holds what a store's buffers take against what they say, in a process of its own.
package memory_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/usage"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// beyond is what a writer may take beside what it states.
const beyond = 128 << 20

// TestEncodersStayWithinWhatTheyState compresses frames as a writer does, three commits at a time, out of shared memory
// as a slab is. The anonymous memory of the process never exceeds what the store's buffers are said to take and beyond.
func TestEncodersStayWithinWhatTheyState(t *testing.T) {
	for _, size := range []struct{ width, height, frames, commit int }{
		{512, 256, 96, 16},  // 256 KiB
		{2048, 2048, 24, 4}, // 8 MiB
		{8192, 8192, 3, 1},  // 128 MiB
	} {
		g := frames.Geometry{Height: size.height, Width: size.width, Channels: 1, Dtype: frames.Uint16}
		pixels := frame(t, g)
		for _, codec := range []string{"zstd", "blosc-zstd"} {
			for encoders := 1; encoders <= 4; encoders++ {
				t.Run(fmt.Sprintf("%s/%s/%d", g, codec, encoders), func(t *testing.T) {
					debug.FreeOSMemory()
					level := 1 // noise is not searched for repetitions
					if encoders%2 > 0 {
						level = 3
					}
					spec := run.Spec{
						Run: frames.NewRunID(), Camera: "cam0", Geometry: g, ShardFrames: uint64(size.frames), Store: "a.ome.zarr",
						Codec: codec, Level: level, Started: time.Now(),
					}
					s, err := store.Create(t.Context(), vfs.OS{}, filepath.Join(t.TempDir(), spec.Store), spec, store.Options{Writer: "w0", Encoders: encoders})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					sh, err := s.TakeShard(t.Context(), 0, 1)
					if err != nil {
						t.Fatal(err)
					}
					defer sh.Close()
					var peak usage.Peak
					watching, stop := context.WithCancel(t.Context())
					var watch sync.WaitGroup
					watch.Go(func() { peak.Watch(watching, os.Getpid()) })
					var commits errgroup.Group
					commits.SetLimit(3)
					for first := 0; first < size.frames; first += size.commit {
						commits.Go(func() error {
							var fs []store.Frame
							for seq := first; seq < first+size.commit; seq++ {
								fs = append(fs, store.Frame{Seq: uint64(seq), Pixels: pixels})
							}
							return sh.Commit(t.Context(), fs, nil)
						})
					}
					err = commits.Wait()
					stop()
					watch.Wait()
					if err != nil {
						t.Fatal(err)
					}
					if got, most := peak.Bytes(), s.BufferBytes()+beyond; got == 0 || got > most {
						t.Errorf("%d bytes of anonymous memory, at most %d were stated", got, most)
					}
				})
			}
		}
	}
}

// frame is a frame of noise in shared memory.
func frame(t *testing.T, g frames.Geometry) []byte {
	t.Helper()
	fd, err := unix.MemfdCreate("frame", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(g.FrameBytes())); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, g.FrameBytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	c := sim.Default()
	c.Width, c.Height, c.Dtype = g.Width, g.Height, g.Dtype
	p, err := sim.NewPattern(c)
	if err != nil {
		t.Fatal(err)
	}
	p.Fill(b, 1)
	return b
}

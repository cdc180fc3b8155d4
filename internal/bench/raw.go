package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// rawDisk writes what a store's data is, and nothing else: files of the shards' size, allocated before, written past the
// page cache from memory as large as the slab that holds the same pixels, as many writes in flight as a writer has, each
// file synced when it is complete.
type rawDisk struct {
	fs     vfs.FS
	dir    string
	memory []byte // the slab's stand-in
	write  int    // bytes of a write, a multiple of vfs.Block
	file   int    // writes of a file
	depth  int    // writes in flight
	// flushes is how often the disk has flushed its cache, for each GB of each run.
	flushes []float64
	// refused is why the files of the last run were not written past the page cache, nil where they were.
	refused error
}

// newRawDisk makes the limit for a scene: each write is as many frames as a writer gathers. Close it.
func newRawDisk(dir string, s scene, shardFrames int, memory int64) (*rawDisk, error) {
	size := s.geometry().FrameBytes()
	stride := slab.Stride(size)
	gather := max(1, store.GatherBytes/stride)
	r := &rawDisk{fs: vfs.OS{}, dir: dir, write: stride * gather, file: max(1, shardFrames/gather), depth: store.DefaultDepth}
	c := sim.Default()
	c.Width, c.Height, c.Dtype, c.Pattern = s.width, s.height, s.dtype, sim.Counter
	pattern, err := sim.NewPattern(c)
	if err != nil {
		return nil, err
	}
	if r.memory, err = mapped(max(1, int(memory)/r.write) * r.write); err != nil {
		return nil, err
	}
	for i := range len(r.memory) / stride {
		pattern.Fill(r.memory[i*stride:i*stride+size], uint64(i))
	}
	return r, nil
}

func (r *rawDisk) close() { unmap(r.memory) }

// rawFile is one of the files.
type rawFile struct {
	f    vfs.File
	left atomic.Int64 // writes that have not returned
}

// run writes n bytes, rounded up to whole writes, and returns bytes a second from the first file's opening until the last
// one was synced.
func (r *rawDisk) run(ctx context.Context, n int64) (perSec float64, err error) {
	out, err := os.MkdirTemp(r.dir, "bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, clearAway(ctx, r.dir, out)) }()
	writes := int((n + int64(r.write) - 1) / int64(r.write))
	files := make([]*rawFile, (writes+r.file-1)/r.file)
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.f.Close())
			}
		}
	}()
	var opening sync.Mutex
	open := func(i int) (*rawFile, error) {
		opening.Lock()
		defer opening.Unlock()
		if files[i] == nil {
			f, err := r.fs.OpenFile(filepath.Join(out, fmt.Sprintf("raw-%d", i)), vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
			if err != nil {
				return nil, err
			}
			files[i] = &rawFile{f: f}
			mine := min(r.file, writes-i*r.file)
			files[i].left.Store(int64(mine))
			if err := f.Allocate(0, int64(mine)*int64(r.write)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return nil, err
			}
		}
		return files[i], nil
	}
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	before := flushes(r.dir)
	start := time.Now()
	for range r.depth {
		g.Go(func() error {
			for gctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= writes {
					return nil
				}
				f, err := open(i / r.file)
				if err != nil {
					return err
				}
				at := i * r.write % len(r.memory)
				if _, err := f.f.WriteAt(r.memory[at:at+r.write], int64(i%r.file)*int64(r.write)); err != nil {
					return err
				}
				if f.left.Add(-1) == 0 {
					if err := f.f.Datasync(); err != nil {
						return err
					}
				}
			}
			return gctx.Err()
		})
	}
	err = g.Wait()
	took := time.Since(start)
	r.flushes = append(r.flushes, float64(flushes(r.dir)-before)/(float64(writes)*float64(r.write)/gb))
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case vfs.IsFull(err):
		return 0, exit.Errorf(exit.DiskFull, "writing to %s: %w", r.dir, err)
	case err != nil:
		return 0, fmt.Errorf("writing to %s: %w", r.dir, err)
	}
	r.refused = files[len(files)-1].f.Direct()
	return float64(writes) * float64(r.write) / took.Seconds(), nil
}

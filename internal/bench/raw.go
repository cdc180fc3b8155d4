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
	bytes  int    // of a write, a multiple of vfs.Block
	file   int    // writes of a file
	depth  int    // writes in flight
	// flushes is how often the disk has flushed its cache in run, for each GB of each.
	flushes []float64
	// refused is why the files of the last run were not written past the page cache, nil where they were.
	refused error
}

// rawBytes is how much of small frames goes out in one write. A writer's are larger, to spare processor time; to the disk
// that makes no difference, and smaller ones use memory of a budget's size more evenly.
const rawBytes = 4 << 20

// newRawDisk makes the limit for a scene: each write is a frame, or as many small ones as make rawBytes. Close it.
func newRawDisk(dir string, s scene, shardFrames int, memory int64) (*rawDisk, error) {
	size := s.geometry().FrameBytes()
	stride := slab.Stride(size)
	gather := max(1, rawBytes/stride)
	r := &rawDisk{fs: vfs.OS{}, dir: dir, bytes: stride * gather, file: max(1, shardFrames/gather), depth: store.DefaultDepth}
	c := sim.Default()
	c.Width, c.Height, c.Dtype, c.Pattern = s.width, s.height, s.dtype, sim.Counter
	pattern, err := sim.NewPattern(c)
	if err != nil {
		return nil, err
	}
	if r.memory, err = mapped(max(1, int(memory)/r.bytes) * r.bytes); err != nil {
		return nil, err
	}
	for i := range len(r.memory) / stride {
		pattern.Fill(r.memory[i*stride:i*stride+size], uint64(i))
	}
	return r, nil
}

func (r *rawDisk) close() { unmap(r.memory) }

// run writes n bytes, rounded up to whole writes, each file synced when it is complete, and returns bytes a second from
// the first file's opening until the last one was synced.
func (r *rawDisk) run(ctx context.Context, n int64) (perSec float64, err error) {
	before := flushes(r.dir)
	perSec, err = r.write(ctx, n, nil)
	r.flushes = append(r.flushes, float64(flushes(r.dir)-before)/(float64(r.writes(n))*float64(r.bytes)/gb))
	return perSec, err
}

// durable does the same as run with memory that is written again only when what it held is durable, as a budget's is. It
// is what anyone can reach who loses nothing within that memory.
func (r *rawDisk) durable(ctx context.Context, n int64) (perSec float64, err error) {
	return r.write(ctx, n, newHeld(r.writes(n), len(r.memory)/r.bytes))
}

// writes is how many writes n bytes are.
func (r *rawDisk) writes(n int64) int { return int((n + int64(r.bytes) - 1) / int64(r.bytes)) }

// write writes n bytes, with memory that is held until it is durable where h is not nil.
func (r *rawDisk) write(ctx context.Context, n int64, h *held) (perSec float64, err error) {
	out, err := os.MkdirTemp(r.dir, "bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, clearAway(ctx, r.dir, out)) }()
	files := rawFiles{disk: r, dir: out, writes: r.writes(n)}
	files.list = make([]*rawFile, (files.writes+r.file-1)/r.file)
	defer func() { err = errors.Join(err, files.close()) }()
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	if h != nil {
		g.Go(func() error { return h.sync(gctx, files.sync) })
	}
	start := time.Now()
	for range r.depth {
		g.Go(func() error {
			for gctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= files.writes {
					return nil
				}
				if err := files.write(gctx, i, h); err != nil {
					return err
				}
			}
			return gctx.Err()
		})
	}
	err = g.Wait()
	took := time.Since(start)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case vfs.IsFull(err):
		return 0, exit.Errorf(exit.DiskFull, "writing to %s: %w", r.dir, err)
	case err != nil:
		return 0, fmt.Errorf("writing to %s: %w", r.dir, err)
	}
	r.refused = files.list[len(files.list)-1].f.Direct()
	return float64(files.writes) * float64(r.bytes) / took.Seconds(), nil
}

// rawFiles are the files of a run.
type rawFiles struct {
	disk   *rawDisk
	dir    string
	writes int // of the run

	opening sync.Mutex
	list    []*rawFile // guarded by opening
}

// rawFile is one of them.
type rawFile struct {
	f    vfs.File
	left atomic.Int64 // writes that have not returned
}

// open returns file i, made and allocated if need be.
func (fs *rawFiles) open(i int) (*rawFile, error) {
	fs.opening.Lock()
	defer fs.opening.Unlock()
	if fs.list[i] != nil {
		return fs.list[i], nil
	}
	r := fs.disk
	f, err := r.fs.OpenFile(filepath.Join(fs.dir, fmt.Sprintf("raw-%d", i)), vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
	if err != nil {
		return nil, err
	}
	fs.list[i] = &rawFile{f: f}
	mine := min(r.file, fs.writes-i*r.file)
	fs.list[i].left.Store(int64(mine))
	if err := f.Allocate(0, int64(mine)*int64(r.bytes)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return fs.list[i], nil
}

// write does write i, when h has room for it.
func (fs *rawFiles) write(ctx context.Context, i int, h *held) error {
	if h != nil {
		if err := h.begin(ctx, i); err != nil {
			return err
		}
	}
	r := fs.disk
	f, err := fs.open(i / r.file)
	if err != nil {
		return err
	}
	at := i * r.bytes % len(r.memory)
	if _, err := f.f.WriteAt(r.memory[at:at+r.bytes], int64(i%r.file)*int64(r.bytes)); err != nil {
		return err
	}
	switch {
	case h != nil:
		h.end(i)
	case f.left.Add(-1) == 0:
		return f.f.Datasync()
	}
	return nil
}

// sync syncs the files of some writes.
func (fs *rawFiles) sync(from, to int) error {
	for i := from / fs.disk.file; i <= (to-1)/fs.disk.file; i++ {
		f, err := fs.open(i)
		if err == nil {
			err = f.f.Datasync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (fs *rawFiles) close() (err error) {
	for _, f := range fs.list {
		if f != nil {
			err = errors.Join(err, f.f.Close())
		}
	}
	return err
}

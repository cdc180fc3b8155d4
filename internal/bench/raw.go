package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// rawDisk writes what a store's data is, and nothing else: files of the shards' size, allocated before, written past the
// page cache from memory as large as the slab, as many writes in flight as a writer has, each file synced at its end.
type rawDisk struct {
	fs     vfs.FS
	dir    string
	memory []byte // the slab's stand-in
	write  int    // bytes of a write, a multiple of vfs.Block
	file   int64  // bytes of a file, a multiple of write
	depth  int    // writes in flight
}

// newRawDisk makes the limit for frames of stride bytes: each write is as many frames as a writer gathers.
func newRawDisk(dir string, stride, gather, shardFrames int, memory int64, depth int) *rawDisk {
	write := stride * max(1, gather/stride)
	r := &rawDisk{
		fs: vfs.OS{}, dir: dir, memory: vfs.Alloc(int(memory) / write * write), write: write,
		file: int64(shardFrames) * int64(stride) / int64(write) * int64(write), depth: depth,
	}
	for i := range r.memory {
		r.memory[i] = byte(i * 7) // nothing that a disk could leave out, and every page is there
	}
	return r
}

// run writes n bytes, rounded up to whole files, and returns bytes a second until the last one was synced.
func (r *rawDisk) run(ctx context.Context, n int64) (perSec float64, err error) {
	files := max(1, int((n+r.file-1)/r.file))
	all := make([]*rawFile, files)
	defer func() {
		for i, f := range all {
			if f != nil {
				err = errors.Join(err, f.f.Close(), r.fs.Remove(r.path(i)))
			}
		}
	}()
	var opening sync.Mutex
	open := func(i int) (*rawFile, error) {
		opening.Lock()
		defer opening.Unlock()
		if all[i] == nil {
			f, err := r.fs.OpenFile(r.path(i), vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
			if err != nil {
				return nil, err
			}
			all[i] = &rawFile{f: f}
			if err := f.Allocate(0, r.file); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return nil, err
			}
		}
		return all[i], nil
	}
	perFile := int(r.file / int64(r.write))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range r.depth {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= files*perFile {
					return nil
				}
				f, err := open(i / perFile)
				if err != nil {
					return err
				}
				at := i * r.write % len(r.memory)
				if _, err := f.f.WriteAt(r.memory[at:at+r.write], int64(i%perFile)*int64(r.write)); err != nil {
					return err
				}
				if int(f.written.Add(1)) == perFile {
					if err := f.f.Datasync(); err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return 0, fmt.Errorf("writing to %s: %w", r.dir, err)
	}
	return perSecond(float64(files)*float64(r.file), start), nil
}

type rawFile struct {
	f       vfs.File
	written atomic.Int64 // writes that have returned
}

func (r *rawDisk) path(i int) string { return filepath.Join(r.dir, fmt.Sprintf("raw-%d", i)) }

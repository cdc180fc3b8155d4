package store

import (
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// replacement puts b at path in one step, by way of the file temp on the same disk. Several are made together: their
// syncs are asked for at the same time, and the disk needs few of its own for them.
type replacement struct {
	temp, path string
	b          []byte
}

// prepare writes the files that will be renamed, and syncs them.
func prepare(fs vfs.FS, list ...replacement) error {
	var g errgroup.Group
	for _, r := range list {
		g.Go(func() error {
			if err := writeSynced(fs, r.temp, r.b); err != nil {
				return fmt.Errorf("writing %s: %w", r.path, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// rename gives prepared files their names, and makes these durable, and those in the other folders.
func rename(fs vfs.FS, list []replacement, others ...string) error {
	dirs := slices.Clone(others)
	for _, r := range list {
		if err := fs.Rename(r.temp, r.path); err != nil {
			return err
		}
		dirs = append(dirs, filepath.Dir(r.temp), filepath.Dir(r.path))
	}
	return syncDirs(fs, dirs...)
}

// replace is both, of one file.
func replace(fs vfs.FS, temp, path string, b []byte) error {
	r := replacement{temp, path, b}
	if err := prepare(fs, r); err != nil {
		return err
	}
	return rename(fs, []replacement{r})
}

// syncDirs makes the names in folders durable, each folder's once, all at the same time.
func syncDirs(fs vfs.FS, dirs ...string) error {
	var g errgroup.Group
	for _, d := range slices.Compact(slices.Sorted(slices.Values(dirs))) {
		g.Go(func() error { return fs.SyncDir(d) })
	}
	return g.Wait()
}

package store

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// checkSums compares the store's small files with the checksums that were written in the end.
func (v *verifier) checkSums() error {
	sums, err := readSums(v.fs, v.at)
	switch {
	case vfs.IsNotExist(err):
		v.found.problem("the finished store has no file %s", sumsName)
		return nil
	case errors.Is(err, ErrCorrupt):
		v.found.problem("%s: %v", sumsName, err)
		return nil
	case err != nil:
		return err
	}
	for _, s := range sums {
		wrong, err := s.check(v.fs, v.at)
		if err != nil {
			return err
		}
		if wrong != "" {
			v.found.problem("%s", wrong)
		}
	}
	want := []string{metaName}
	for _, n := range arrayNodes(v.at, v.attrs.Spec, v.captured) {
		want = append(want, v.at.within(filepath.Join(n.dir, metaName)))
	}
	for _, path := range want {
		if !slices.ContainsFunc(sums, func(s fileSum) bool { return s.path == path }) {
			v.found.problem("%s has no checksum", path)
		}
	}
	return nil
}

// checkExtra looks for shards and columns that are not of the run: a reader with another length would find them.
func (v *verifier) checkExtra() error {
	folders := []string{v.at.join(imageName, "c")}
	for _, c := range columns() {
		folders = append(folders, v.at.columnChunks(c.name))
	}
	shards := v.attrs.Shards(v.captured)
	for _, dir := range folders {
		entries, err := v.fs.ReadDir(dir)
		if ignoreNotExist(err) != nil {
			return err
		}
		for _, e := range entries {
			if no, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && no >= shards {
				v.found.problem("%s is of no shard of the run, which has %d", v.at.within(filepath.Join(dir, e.Name())), shards)
			}
		}
	}
	return nil
}

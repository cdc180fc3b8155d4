package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// KnownAttributes is ReadAttributes, except that of an unfinished store whose zarr.json is damaged or gone it returns
// what was written when the store was made; damaged then says so.
func KnownAttributes(fs vfs.FS, path string) (a Attributes, damaged, err error) {
	at := layout{root: path}
	a, err = ReadAttributes(fs, path)
	if err == nil && a.Finished || err != nil && !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrCorrupt) {
		return a, nil, err
	}
	b, specErr := readFile(fs, at.work(specName), maxMeta)
	if specErr != nil {
		if err == nil && !errors.Is(specErr, ErrCorrupt) {
			err = ignoreNotExist(specErr)
		}
		return a, nil, err
	}
	line, written, _ := bytes.Cut(b, []byte{'\n'})
	if string(line)+"\n" != string(specSum(written)) {
		return a, nil, err
	}
	known, specErr := parseRoot(written)
	if specErr != nil {
		return a, nil, err
	}
	if have, readErr := readFile(fs, at.join(metaName), maxMeta); err != nil || readErr != nil || !bytes.Equal(have, written) {
		return known, errors.Join(fmt.Errorf("%w: %s is not what was written", ErrCorrupt, at.join(metaName)), err, readErr), nil
	}
	return a, nil, nil
}

// specSum is the first line of the copy of a store's zarr.json.
func specSum(written []byte) []byte {
	return fileSum{metaName, int64(len(written)), castagnoli(written)}.append(nil)
}

// repair writes a zarr.json anew, whose path is relative to the store.
func (r *recovery) repair(path string, meta any) error {
	s := r.store
	b, err := encodeMeta(meta)
	if err != nil {
		return err
	}
	r.found.Repaired = append(r.found.Repaired, path)
	return replaceSynced(s.fs, s.at.work("repaired-"+metaName), s.at.join(path), b)
}

// repairArrays makes what is missing of the folders, and writes the metadata anew that is not as it should be: a length
// grows again from the shards.
func (r *recovery) repairArrays() error {
	s := r.store
	for _, dir := range storeFolders(s.at) {
		switch err := s.fs.Mkdir(dir); {
		case vfs.IsExist(err):
		case err != nil:
			return err
		default:
			if err := s.fs.SyncDir(filepath.Dir(dir)); err != nil {
				return err
			}
		}
	}
	for _, n := range arrayNodes(s.at, s.spec, 0) {
		path := s.at.within(filepath.Join(n.dir, metaName))
		have, err := readFile(s.fs, s.at.join(path), maxMeta)
		if ignoreNotExist(err) != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		length, err := parseLength(have)
		if err != nil {
			length = 0
		}
		if want, err := encodeMeta(sameNode(arrayNodes(s.at, s.spec, length), n.dir).meta); err != nil || bytes.Equal(have, want) {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.repair(path, n.meta); err != nil {
			return err
		}
	}
	return nil
}

// sameNode is the node of a folder.
func sameNode(nodes []node, dir string) node {
	for _, n := range nodes {
		if n.dir == dir {
			return n
		}
	}
	return node{}
}

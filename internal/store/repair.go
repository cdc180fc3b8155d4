package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
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

// nameAnew puts frames into the ledger that are lost by the states of a complete shard and named by no ledger: one was
// damaged, or is gone. What else it said of them is not known any more.
func (r *recovery) nameAnew(no uint64, states []frames.State) error {
	s := r.store
	first := no * s.spec.ShardFrames
	named := make([]bool, len(states))
	for _, l := range r.losses.within(first, first+uint64(len(states))) {
		for seq := l.Seq; seq < l.End(); seq++ {
			named[seq-first] = true
		}
	}
	var lost []frames.Loss
	for i, st := range states {
		if st.Lost() && !named[i] {
			lost = append(lost, frames.Loss{Seq: first + uint64(i), Count: 1, Reason: st, Stage: frames.AtWriter})
		}
	}
	if len(lost) == 0 {
		return nil
	}
	if what := ledgerDir + " of shard " + strconv.FormatUint(no, 10); len(r.found.Repaired) < BadLimit {
		r.found.Repaired = append(r.found.Repaired, what)
	}
	return s.ledger.add(lost)
}

// repair writes a zarr.json anew, whose path is relative to the store.
func (r *recovery) repair(path string, meta any) error {
	s := r.store
	b, err := encodeMeta(meta)
	if err != nil {
		return err
	}
	r.found.Repaired = append(r.found.Repaired, path)
	return replace(s.fs, s.at.work("repaired-"+metaName), s.at.join(path), b)
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

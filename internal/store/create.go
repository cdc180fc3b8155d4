package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// Create makes the store of a run at path, whose parent must exist. The folder appears whole and durable in one
// step. Where the camera's last store in the folder is of a run that did not end in order the new one says that it
// continues it. The error wraps ErrExists where something has that name, ErrSpec where no store can be made for spec.
func Create(ctx context.Context, fs vfs.FS, path string, spec run.Spec, opts Options) (*Store, error) {
	if err := checkSpec(spec); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	path = filepath.Clean(path)
	if _, err := fs.Stat(path); err == nil {
		return nil, fmt.Errorf("creating %s: %w", path, ErrExists)
	}
	if spec.Continues == "" {
		var err error
		if spec.Continues, err = interrupted(fs, filepath.Dir(path), spec); err != nil {
			return nil, fmt.Errorf("creating %s: %w", path, err)
		}
	}
	// Everything is made under another name, which an earlier attempt for the same run may have left.
	draft := filepath.Join(filepath.Dir(path), ".sluice-"+spec.Run.String())
	if err := removeAll(fs, draft); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	if err := writeDraft(fs, draft, spec); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, errors.Join(err, removeAll(fs, draft)))
	}
	if err := fs.RenameNew(draft, path); err != nil {
		if vfs.IsExist(err) {
			err = fmt.Errorf("%w: %w", ErrExists, err)
		}
		return nil, fmt.Errorf("creating %s: %w", path, errors.Join(err, removeAll(fs, draft)))
	}
	return Open(ctx, fs, path, spec.Run, opts)
}

// writeDraft makes an empty store in a new folder.
func writeDraft(fs vfs.FS, root string, spec run.Spec) error {
	at := layout{root, spec.Geometry.Channels}
	dirs := storeFolders(at)
	for _, d := range dirs {
		if err := fs.Mkdir(d); err != nil {
			return err
		}
	}
	group, err := encodeMeta(rootMeta(Attributes{Format: Format, Spec: spec}))
	if err != nil {
		return err
	}
	if err := writeSynced(fs, at.join(metaName), group); err != nil {
		return err
	}
	if err := writeSynced(fs, at.work(specName), append(specSum(group), group...)); err != nil {
		return err
	}
	for _, n := range arrayNodes(at, spec, 0) {
		b, err := encodeMeta(n.meta)
		if err != nil {
			return err
		}
		if err := writeSynced(fs, filepath.Join(n.dir, metaName), b); err != nil {
			return err
		}
	}
	if err := makeSpare(fs, at, spec); err != nil {
		return err
	}
	for _, d := range dirs {
		if err := fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// storeFolders are the folders that every unfinished store has, outer ones first.
func storeFolders(at layout) []string {
	dirs := []string{at.root, at.join(imageName), at.join(imageName, "c"), at.join(columnsDir), at.join(ledgerDir), at.join(workDir)}
	for _, c := range columns() {
		dirs = append(dirs, at.column(c.name), at.columnChunks(c.name))
	}
	return dirs
}

// node is a folder with a zarr.json.
type node struct {
	dir  string
	meta any
}

// arrayNodes are all of a store but its root when its first t frames can be read.
func arrayNodes(at layout, spec run.Spec, t uint64) []node {
	nodes := []node{{at.join(imageName), imageMeta(spec, t)}, {at.join(columnsDir), groupMeta{3, "group", struct{}{}}}}
	for _, c := range columns() {
		nodes = append(nodes, node{at.column(c.name), columnMeta(spec, c, t)})
	}
	return nodes
}

func encodeMeta(meta any) ([]byte, error) {
	b, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return append(b, '\n'), nil
}

// writeSynced writes a file, in place of one that has the name, and syncs it. The name is not yet durable.
func writeSynced(fs vfs.FS, path string, b []byte) error {
	f, err := fs.OpenFile(path, vfs.Write|vfs.Create|vfs.Clear)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// removeAll removes a file or a folder with all that is in it; it is no error where nothing is.
func removeAll(fs vfs.FS, path string) error {
	info, err := fs.Stat(path)
	if err != nil {
		return ignoreNotExist(err)
	}
	if info.IsDir() {
		entries, err := fs.ReadDir(path)
		if err != nil {
			return ignoreNotExist(err)
		}
		for _, e := range entries {
			if err := removeAll(fs, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return ignoreNotExist(fs.Remove(path))
}

func ignoreNotExist(err error) error {
	if vfs.IsNotExist(err) {
		return nil
	}
	return err
}

// Discard removes the store if it holds nothing: no shard, no loss, and no final attributes. It reports whether it
// did. It is for a run that was refused after its store was made.
func (s *Store) Discard() (bool, error) {
	a, err := s.attributes()
	if err != nil || a.Finished || a.Run != s.spec.Run {
		return false, ignoreNotExist(err)
	}
	for _, dir := range []string{s.at.join(imageName, "c"), s.at.columnChunks(colState), s.at.join(ledgerDir), s.at.join(workDir)} {
		entries, err := s.fs.ReadDir(dir)
		if err != nil {
			return false, fmt.Errorf("discarding %s: %w", s.at.root, err)
		}
		for _, e := range entries {
			if !slices.Contains([]string{lockName, liveName, spareName, specName}, e.Name()) {
				return false, nil
			}
		}
	}
	if err := errors.Join(s.events.close(), removeAll(s.fs, s.at.root)); err != nil {
		return false, fmt.Errorf("discarding %s: %w", s.at.root, err)
	}
	return true, s.fs.SyncDir(filepath.Dir(s.at.root))
}

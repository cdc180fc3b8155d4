package vfs

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a file system in memory that knows what a crash would leave of it ([Mem.Crash]). It begins with the
// folder / alone.
type Mem struct {
	mu    sync.Mutex // guards all of the file system, the nodes too
	root  *node
	names []*nameChange // not all of whose folders were synced, in order
	limit int64         // bytes, 0 for none
	used  int64
}

var _ FS = (*Mem)(nil)

// NewMem makes an empty file system with room for limit bytes, or for any number where limit is 0. Each file and
// folder takes whole blocks, one at least.
func NewMem(limit int64) *Mem {
	return &Mem{root: newFolder(), limit: limit}
}

// OpenFile implements [Files].
func (m *Mem) OpenFile(path string, flag Flag) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.find(path)
	switch {
	case err != nil:
	case n != nil && n.isDir():
		err = syscall.EISDIR
	case n != nil && flag&Create != 0 && flag&Exclusive != 0:
		err = syscall.EEXIST
	case n == nil && flag&Create == 0:
		err = syscall.ENOENT
	case n == nil:
		n = &node{}
		err = m.add(dir, name, n)
	case flag&Clear != 0:
		n.resize(0)
		m.charge(n)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	n.handles++
	return &memFile{m: m, n: n, path: path, flag: flag}, nil
}

// Mkdir implements [Folders].
func (m *Mem) Mkdir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.find(path)
	if err == nil && n != nil {
		err = syscall.EEXIST
	}
	if err == nil {
		err = m.add(dir, name, newFolder())
	}
	return pathError("mkdir", path, err)
}

// add gives a new node its name.
func (m *Mem) add(dir *node, name string, n *node) error {
	if m.limit > 0 && m.used+Block > m.limit {
		return syscall.ENOSPC
	}
	m.change(edit{dir, name, n})
	m.charge(n)
	return nil
}

// Remove implements [Files].
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, n, err := m.find(path)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case len(n.entries) > 0:
		err = syscall.ENOTEMPTY
	default:
		m.change(edit{dir, name, nil})
		m.charge(n)
	}
	return pathError("remove", path, err)
}

// Rename implements [Files].
func (m *Mem) Rename(from, to string) error { return m.rename(from, to, false) }

// RenameNew implements [Files].
func (m *Mem) RenameNew(from, to string) error { return m.rename(from, to, true) }

func (m *Mem) rename(from, to string, fresh bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fromDir, fromName, n, err := m.find(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	toDir, toName, old, err := m.find(to)
	switch {
	case err != nil:
	case n == nil:
		err = syscall.ENOENT
	case old == n:
		return nil
	case old != nil && fresh:
		err = syscall.EEXIST
	case old != nil && len(old.entries) > 0:
		err = syscall.ENOTEMPTY
	case old != nil && old.isDir() != n.isDir():
		err = syscall.EISDIR
	default:
		m.change(edit{fromDir, fromName, nil}, edit{toDir, toName, n})
		if old != nil {
			m.charge(old)
		}
	}
	return pathError("rename", to, err)
}

// Stat implements [Files].
func (m *Mem) Stat(path string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, name, n, err := m.find(path)
	if err == nil && n == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, pathError("stat", path, err)
	}
	return memInfo{name, n.data.size, n.isDir()}, nil
}

// ReadDir implements [Folders].
func (m *Mem) ReadDir(path string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.folder(path)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	list := make([]fs.DirEntry, 0, len(n.entries))
	for name, e := range n.entries {
		list = append(list, fs.FileInfoToDirEntry(memInfo{name, e.data.size, e.isDir()}))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Free implements [Volume].
func (m *Mem) Free(path string) (uint64, error) {
	if _, err := m.Stat(path); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit == 0 {
		return 1 << 40, nil
	}
	return uint64(max(0, m.limit-m.used)), nil
}

// SetLimit changes how many bytes there is room for, 0 for any number. What is there stays.
func (m *Mem) SetLimit(limit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = limit
}

// Used is how many bytes are taken.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Lock implements [Volume].
func (m *Mem) Lock(ctx context.Context, path string) (io.Closer, error) {
	return m.lock(ctx, path, lockHolders)
}

// LockShared implements [Volume].
func (m *Mem) LockShared(ctx context.Context, path string) (io.Closer, error) {
	return m.lock(ctx, path, 1)
}

// folder finds a folder. The caller holds mu.
func (m *Mem) folder(path string) (*node, error) {
	_, _, n, err := m.find(path)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, syscall.ENOENT
	case !n.isDir():
		return nil, syscall.ENOTDIR
	}
	return n, nil
}

// find walks a path: the folder that has the name, the name, and what it stands for, nil where that is nothing. The
// caller holds mu.
func (m *Mem) find(path string) (dir *node, name string, n *node, err error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) {
		return nil, "", nil, fmt.Errorf("%w: the path is relative", syscall.EINVAL)
	}
	if path == "/" {
		return nil, "/", m.root, nil
	}
	_, _, dir, err = m.find(filepath.Dir(path))
	switch {
	case err != nil:
		return nil, "", nil, err
	case dir == nil:
		return nil, "", nil, syscall.ENOENT
	case !dir.isDir():
		return nil, "", nil, syscall.ENOTDIR
	}
	name = filepath.Base(path)
	return dir, name, dir.entries[name], nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

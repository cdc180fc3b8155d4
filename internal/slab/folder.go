package slab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/run"
)

const suffix = ".slab"

// UserDir is this user's folder below the memory file system dir; it may not exist yet.
func UserDir(dir string) string { return filepath.Join(dir, fmt.Sprintf("sluice-%d", os.Getuid())) }

// userDir makes the folder if need be, and checks that nobody else can reach into it.
func userDir(dir string) (string, error) {
	path := UserDir(dir)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the folder for slabs: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("check the folder for slabs: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ours(info) {
		return "", fmt.Errorf("%s is %s and must be a folder of mode 0700 that this user owns: %w", path, info.Mode(), ErrForeign)
	}
	return path, nil
}

// EnsureDir is UserDir, made and checked.
func EnsureDir(dir string) (string, error) { return userDir(dir) }

func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

// advice is what helps where shared memory is too small.
const advice = " (a smaller --budget, or more shared memory: mount -o remount,size=…, in a container --shm-size)"

// Room returns an error wrapping ErrNoSpace that names both figures unless dir has the given bytes free. It is
// a courtesy: only the allocation itself is sure.
func Room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at shared memory in %s: %w", dir, err)
	}
	if have := int64(st.Bavail) * st.Bsize; have < need {
		return fmt.Errorf("%w: %s has %d bytes free, the budget needs %d%s", ErrNoSpace, dir, have, need, advice)
	}
	return nil
}

// Info describes a slab that lies in memory.
type Info struct {
	Path  string
	Bytes int64
	Spec  run.Spec
	// InUse is set while an acquire holds the slab.
	InUse    bool
	Phase    Phase
	Captured uint64
	Held     int // slots with a frame that a lossless group has not released
	// Err says why the file is not a sound slab; the fields above are then empty but for Path, Bytes and InUse:
	// one that is being made has no header yet.
	Err error
}

// List describes every slab in this user's folder below dir.
func List(dir string) ([]Info, error) {
	names, err := filepath.Glob(filepath.Join(UserDir(dir), "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list slabs: %w", err)
	}
	var list []Info
	for _, path := range names {
		if info, ok := describe(path); ok {
			list = append(list, info)
		}
	}
	return list, nil
}

func describe(path string) (Info, bool) {
	info := Info{Path: path}
	f, err := openFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return info, false // gone since it was listed
	}
	if st, e := os.Lstat(path); e == nil {
		info.Bytes = st.Size()
	}
	if err != nil {
		info.Err = err
		return info, true
	}
	defer f.Close()
	if info.InUse, info.Err = Locked(f); info.Err != nil {
		return info, true
	}
	l, spec, err := readHeader(f)
	if err != nil {
		info.Err = err
		return info, true
	}
	mem, err := mapFile(f, l.dataAt, unix.PROT_READ)
	if err != nil {
		info.Err = err
		return info, true
	}
	defer func() { _ = unmap(mem) }()
	st, _, err := newestState(mem, spec.ShardFrames)
	if err != nil {
		info.Err = fmt.Errorf("%s: %w", path, err)
		return info, true
	}
	info.Spec, info.Phase, info.Captured = spec, Phase(st[wPhase]), st[wCaptured]
	for i := range l.slots {
		if slotAt(mem, l, i).holders.Load() != 0 {
			info.Held++
		}
	}
	return info, true
}

// Abandoned returns the sound slabs of a camera whose acquire has died before its run was done.
func Abandoned(dir, camera string) ([]Info, error) {
	all, err := List(dir)
	if err != nil {
		return nil, err
	}
	var left []Info
	for _, i := range all {
		if i.Err == nil && !i.InUse && i.Spec.Camera == camera && i.Phase != Done {
			left = append(left, i)
		}
	}
	return left, nil
}

// Sweep removes the slabs of a camera whose acquire died while it made them: they have no header, and never had a frame.
func Sweep(dir, camera string) error {
	names, err := filepath.Glob(filepath.Join(UserDir(dir), camera+".*"+suffix))
	if err != nil {
		return fmt.Errorf("list slabs: %w", err)
	}
	for _, path := range names {
		if err := sweep(path); err != nil {
			return fmt.Errorf("remove a slab that was never finished: %w", err)
		}
	}
	return nil
}

func sweep(path string) error {
	f, err := openFile(path, os.O_RDWR)
	if err != nil {
		return nil // gone, or not ours to remove
	}
	defer f.Close()
	if !blank(f) || TryLock(f) != nil || !blank(f) { // being made, or finished meanwhile
		return nil
	}
	return os.Remove(path)
}

// blank reports whether a slab has no header.
func blank(f *os.File) bool {
	head := make([]byte, PageSize)
	n, err := f.ReadAt(head, 0)
	return (err == nil || errors.Is(err, io.EOF)) && !slices.ContainsFunc(head[:n], func(b byte) bool { return b != 0 })
}

// openFile opens a slab's file and checks its owner and kind.
func openFile(path string, flag int) (*os.File, error) {
	if !strings.HasSuffix(path, suffix) {
		return nil, fmt.Errorf("%s: %w: its name does not end in %s", path, ErrForeign, suffix)
	}
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s: %w: it is a link", path, ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || !ours(info)) {
		err = fmt.Errorf("%s: %w: it must be a file of mode 0600 that this user owns", path, ErrForeign)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readHeader reads and checks what is fixed about a slab.
func readHeader(f *os.File) (layout, run.Spec, error) {
	info, err := f.Stat()
	if err != nil {
		return layout{}, run.Spec{}, err
	}
	head := make([]byte, PageSize+specSize)
	if n, err := f.ReadAt(head, 0); err != nil {
		return layout{}, run.Spec{}, fmt.Errorf("%s: %w: its header ends after %d bytes", f.Name(), ErrDamaged, n)
	}
	l, spec, err := parse(head, info.Size())
	if err != nil {
		return layout{}, run.Spec{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return l, spec, nil
}

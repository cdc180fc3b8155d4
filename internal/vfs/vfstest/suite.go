package vfstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// Run tests a file system. start makes one, and a folder of it that is empty.
func Run(t *testing.T, start func(t *testing.T) (fs vfs.FS, dir string)) {
	t.Helper()
	for name, test := range map[string]func(*suite){
		"open": (*suite).open, "read and write": (*suite).readWrite, "direct": (*suite).direct, "append": (*suite).appending,
		"size": (*suite).size, "removed": (*suite).removed, "rename": (*suite).rename, "rename new": (*suite).renameNew, "one winner": (*suite).oneWinner,
		"folders": (*suite).folders, "open and removed": (*suite).openAndRemoved, "locks": (*suite).locks, "free": (*suite).free,
	} {
		t.Run(name, func(t *testing.T) {
			fs, dir := start(t)
			test(&suite{t, fs, dir})
		})
	}
}

type suite struct {
	*testing.T
	fs  vfs.FS
	dir string
}

func (s *suite) path(name string) string { return filepath.Join(s.dir, name) }

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// file opens a file, which is closed when the test ends.
func (s *suite) file(name string, flag vfs.Flag) vfs.File {
	s.Helper()
	f, err := s.fs.OpenFile(s.path(name), flag)
	s.must(err)
	s.Cleanup(func() { s.must(f.Close()) })
	return f
}

// put makes a file that holds text.
func (s *suite) put(name, text string) {
	s.Helper()
	f, err := s.fs.OpenFile(s.path(name), vfs.Write|vfs.Create|vfs.Clear)
	s.must(err)
	_, err = f.WriteAt([]byte(text), 0)
	s.must(err)
	s.must(f.Close())
}

// has fails the test unless a file holds text.
func (s *suite) has(name, text string) {
	s.Helper()
	f, err := s.fs.OpenFile(s.path(name), 0)
	s.must(err)
	b := make([]byte, len(text)+1)
	n, err := f.ReadAt(b, 0)
	if !errors.Is(err, io.EOF) || string(b[:n]) != text {
		s.Errorf("%s holds %q, %v: want %q", name, b[:n], err, text)
	}
	s.must(f.Close())
}

func (s *suite) open() {
	if _, err := s.fs.OpenFile(s.path("f"), 0); !vfs.IsNotExist(err) {
		s.Errorf("opening nothing: %v", err)
	}
	if _, err := s.fs.OpenFile(s.path("no/f"), vfs.Write|vfs.Create); !vfs.IsNotExist(err) {
		s.Errorf("making a file in no folder: %v", err)
	}
	s.file("f", vfs.Write|vfs.Create|vfs.Exclusive)
	for _, flag := range []vfs.Flag{0, vfs.Direct} {
		if _, err := s.fs.OpenFile(s.path("f"), vfs.Write|vfs.Create|vfs.Exclusive|flag); !vfs.IsExist(err) {
			s.Errorf("making what exists: %v", err)
		}
	}
	if err := s.file("f", 0).Direct(); err == nil {
		s.Error("a file opened without Direct says that it is direct")
	}
	s.put("f", "abc")
	s.file("f", vfs.Write|vfs.Clear)
	s.has("f", "")
}

func (s *suite) readWrite() {
	f := s.file("f", vfs.Write|vfs.Create)
	_, err := f.WriteAt([]byte("def"), 3)
	s.must(err)
	s.has("f", "\x00\x00\x00def")
	_, err = f.WriteAt([]byte("abcD"), 0)
	s.must(err)
	s.must(f.WriteVec([][]byte{[]byte("e"), nil, []byte("fgh")}, 4))
	s.must(f.Datasync())
	s.must(f.Sync())
	s.has("f", "abcDefgh")
	if n, err := f.ReadAt(make([]byte, 3), 100); n != 0 || !errors.Is(err, io.EOF) {
		s.Errorf("reading behind the end: %d bytes, %v", n, err)
	}
	if _, err := s.file("f", 0).WriteAt([]byte("x"), 0); err == nil {
		s.Error("wrote to a file that was opened for reading")
	}
}

func (s *suite) direct() {
	f := s.file("f", vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
	s.must(f.Allocate(0, 4*vfs.Block))
	b := vfs.Alloc(2 * vfs.Block)
	for i := range b {
		b[i] = byte(i * 7)
	}
	_, err := f.WriteAt(b, vfs.Block)
	s.must(err)
	s.must(f.WriteVec([][]byte{b[vfs.Block:], b[:vfs.Block]}, 3*vfs.Block))
	for name, write := range map[string]func() error{
		"length":  func() error { _, err := f.WriteAt(b[:100], 0); return err },
		"offset":  func() error { _, err := f.WriteAt(b, 512); return err },
		"address": func() error { _, err := f.WriteAt(b[1:vfs.Block+1], 0); return err },
		"vector":  func() error { return f.WriteVec([][]byte{b, b[:3]}, 0) },
	} {
		if err := write(); !errors.Is(err, vfs.ErrUnaligned) {
			s.Errorf("%s: got %v, want ErrUnaligned", name, err)
		}
	}
	s.must(f.Datasync())
	s.must(f.Truncate(5*vfs.Block - 10))
	want := slices.Concat(make([]byte, vfs.Block), b, b[vfs.Block:], b[:vfs.Block])[:5*vfs.Block-10]
	s.has("f", string(want))
	r := s.file("f", vfs.Direct)
	got := vfs.Alloc(6 * vfs.Block)
	if n, err := r.ReadAt(got, 0); !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		s.Errorf("read %d bytes, %v", n, err)
	}
	if n, err := r.ReadAt(got[:vfs.Block], vfs.Block); err != nil || !bytes.Equal(got[:n], want[vfs.Block:2*vfs.Block]) {
		s.Errorf("read %d bytes, %v", n, err)
	}
	if n, err := r.ReadAt(got, 8*vfs.Block); n != 0 || !errors.Is(err, io.EOF) {
		s.Errorf("read %d bytes behind the end, %v", n, err)
	}
	for _, b := range [][]byte{got[:100], got[1 : vfs.Block+1]} {
		if _, err := r.ReadAt(b, 0); !errors.Is(err, vfs.ErrUnaligned) {
			s.Errorf("unaligned read: got %v, want ErrUnaligned", err)
		}
	}
}

func (s *suite) appending() {
	a, b := s.file("log", vfs.Append|vfs.Create), s.file("log", vfs.Append|vfs.Create)
	for _, f := range []vfs.File{a, b, a} {
		s.must(f.Append([]byte("line\n")))
	}
	if size, err := a.Size(); err != nil || size != 15 {
		s.Errorf("size %d, %v: want 15", size, err)
	}
	s.has("log", "line\nline\nline\n")
	if _, err := a.WriteAt([]byte("x"), 0); err == nil {
		s.Error("wrote at an offset of a file that was opened for appending")
	}
}

func (s *suite) removed() {
	f := s.file("f", vfs.Write|vfs.Create)
	for i, step := range []func() error{
		func() error { return nil },
		func() error { return s.fs.Rename(s.path("f"), s.path("g")) },
		func() error { return s.fs.Remove(s.path("g")) },
	} {
		s.must(step())
		if gone, err := f.Removed(); err != nil || gone != (i == 2) {
			s.Errorf("after step %d: removed %t, %v", i, gone, err)
		}
	}
}

func (s *suite) size() {
	f := s.file("f", vfs.Write|vfs.Create)
	s.must(f.Allocate(0, 5))
	_, err := f.WriteAt([]byte("abc"), 0)
	s.must(err)
	s.must(f.Allocate(2, 1))
	s.has("f", "abc\x00\x00")
	s.must(f.Truncate(2))
	s.must(f.Truncate(4))
	s.has("f", "ab\x00\x00")
	info, err := s.fs.Stat(s.path("f"))
	s.must(err)
	if info.Size() != 4 || info.IsDir() || info.Name() != "f" {
		s.Errorf("stat: %s, %d bytes, folder %t", info.Name(), info.Size(), info.IsDir())
	}
}

func (s *suite) rename() {
	s.put("a", "1")
	s.put("b", "2")
	s.must(s.fs.Mkdir(s.path("d")))
	s.must(s.fs.Rename(s.path("a"), s.path("b")))
	s.has("b", "1")
	s.must(s.fs.Rename(s.path("b"), s.path("d/c")))
	s.has("d/c", "1")
	s.must(s.fs.SyncDir(s.dir))
	s.must(s.fs.SyncDir(s.path("d")))
	if err := s.fs.Rename(s.path("b"), s.path("c")); !vfs.IsNotExist(err) {
		s.Errorf("a rename of nothing: %v", err)
	}
	s.must(s.fs.Mkdir(s.path("e")))
	if err := s.fs.Rename(s.path("e"), s.path("d")); !vfs.IsExist(err) {
		s.Errorf("a rename over a folder that is not empty: %v", err)
	}
}

func (s *suite) renameNew() {
	s.put("a", "1")
	s.put("b", "2")
	if err := s.fs.RenameNew(s.path("a"), s.path("b")); !vfs.IsExist(err) {
		s.Errorf("a rename over a file: %v", err)
	}
	s.must(s.fs.RenameNew(s.path("a"), s.path("c")))
	s.has("b", "2")
	s.has("c", "1")
	if err := s.fs.RenameNew(s.path("nothing"), s.path("x")); !vfs.IsNotExist(err) {
		s.Errorf("a rename of nothing: %v", err)
	}
	for _, d := range []string{"d", "e"} {
		s.must(s.fs.Mkdir(s.path(d)))
	}
	if err := s.fs.RenameNew(s.path("d"), s.path("e")); !vfs.IsExist(err) {
		s.Errorf("a rename over an empty folder: %v", err)
	}
	s.must(s.fs.RenameNew(s.path("d"), s.path("g")))
}

func (s *suite) oneWinner() {
	const n = 8
	name := func(i int) string { return string(rune('a' + i)) }
	for i := range n {
		s.put(name(i), name(i))
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = s.fs.RenameNew(s.path(name(i)), s.path("final")) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			s.has("final", name(i))
		} else if !vfs.IsExist(err) {
			s.Errorf("the loser %d has the error %v", i, err)
		}
	}
	if won != 1 {
		s.Errorf("%d have won", won)
	}
}

func (s *suite) folders() {
	s.must(s.fs.Mkdir(s.path("d")))
	if err := s.fs.Mkdir(s.path("d")); !vfs.IsExist(err) {
		s.Errorf("making a folder twice: %v", err)
	}
	if err := s.fs.Mkdir(s.path("x/y")); !vfs.IsNotExist(err) {
		s.Errorf("making a folder in none: %v", err)
	}
	for _, n := range []string{"d/b", "d/a", "d/c"} {
		s.put(n, "")
	}
	if err := s.fs.Remove(s.path("d")); !vfs.IsExist(err) {
		s.Errorf("removing a folder that is not empty: %v", err)
	}
	s.must(s.fs.Remove(s.path("d/b")))
	if err := s.fs.Remove(s.path("d/b")); !vfs.IsNotExist(err) {
		s.Errorf("removing nothing: %v", err)
	}
	list, err := s.fs.ReadDir(s.path("d"))
	s.must(err)
	if len(list) != 2 || list[0].Name() != "a" || list[1].Name() != "c" || list[0].IsDir() {
		s.Errorf("the folder has %v", list)
	}
	if _, err := s.fs.ReadDir(s.path("x")); !vfs.IsNotExist(err) {
		s.Errorf("listing nothing: %v", err)
	}
	if err := s.fs.SyncDir(s.path("x")); !vfs.IsNotExist(err) {
		s.Errorf("syncing nothing: %v", err)
	}
	if info, err := s.fs.Stat(s.path("d")); err != nil || !info.IsDir() {
		s.Errorf("stat of a folder: %v", err)
	}
	if _, err := s.fs.Stat(s.path("x")); !vfs.IsNotExist(err) {
		s.Errorf("stat of nothing: %v", err)
	}
	s.must(s.fs.Remove(s.path("d/a")))
	s.must(s.fs.Remove(s.path("d/c")))
	s.must(s.fs.Remove(s.path("d")))
}

// openAndRemoved uses a file that has lost its name.
func (s *suite) openAndRemoved() {
	f := s.file("f", vfs.Write|vfs.Create)
	s.must(s.fs.Rename(s.path("f"), s.path("g")))
	_, err := f.WriteAt([]byte("abc"), 0)
	s.must(err)
	s.has("g", "abc")
	s.must(s.fs.Remove(s.path("g")))
	b := make([]byte, 3)
	if _, err := f.ReadAt(b, 0); err != nil || !bytes.Equal(b, []byte("abc")) {
		s.Errorf("reading a removed file: %q, %v", b, err)
	}
	s.must(f.Datasync())
}

func (s *suite) locks() {
	path := s.path("lock")
	refused := func(what string, lock func(context.Context, string) (io.Closer, error)) {
		s.Helper()
		ctx, cancel := context.WithTimeout(s.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := lock(ctx, path); !errors.Is(err, vfs.ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
			s.Errorf("%s: got %v, want ErrLocked and the deadline", what, err)
		}
	}
	held, err := s.fs.Lock(s.Context(), path)
	s.must(err)
	refused("a lock that is held", s.fs.Lock)
	refused("a lock that is held, shared", s.fs.LockShared)
	s.must(held.Close())
	a, err := s.fs.LockShared(s.Context(), path)
	s.must(err)
	b, err := s.fs.LockShared(s.Context(), path)
	s.must(err)
	refused("a lock that is held by two", s.fs.Lock)
	s.must(a.Close())
	refused("a lock that is held by one", s.fs.Lock)
	s.must(b.Close())
	held, err = s.fs.Lock(s.Context(), path)
	s.must(err)
	s.must(held.Close())
	if _, err := s.fs.Lock(s.Context(), s.path("no/lock")); !vfs.IsNotExist(err) {
		s.Errorf("a lock in no folder: %v", err)
	}
}

func (s *suite) free() {
	if n, err := s.fs.Free(s.dir); err != nil || n == 0 {
		s.Errorf("free space %d, %v", n, err)
	}
	if _, err := s.fs.Free(s.path("x")); !vfs.IsNotExist(err) {
		s.Errorf("free space of nothing: %v", err)
	}
}

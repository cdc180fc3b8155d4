package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string, flag vfs.Flag) vfs.File {
	t.Helper()
	f, err := vfs.OS{}.OpenFile(path, flag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDirectWritesNeedAlignmentEverywhere(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		f := open(t, filepath.Join(dir, "f"), vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct)
		if err := f.Allocate(0, 4*vfs.Block); err != nil {
			t.Fatal(err)
		}
		b := vfs.Alloc(2 * vfs.Block)
		for i := range b {
			b[i] = byte(i * 7)
		}
		if _, err := f.WriteAt(b, vfs.Block); err != nil {
			t.Fatalf("aligned write in %s: %v", dir, err)
		}
		if err := f.WriteVec([][]byte{b[vfs.Block:], b[:vfs.Block]}, 3*vfs.Block); err != nil {
			t.Fatalf("aligned vector in %s: %v", dir, err)
		}
		for name, write := range map[string]func() error{
			"length":  func() error { _, err := f.WriteAt(b[:100], 0); return err },
			"offset":  func() error { _, err := f.WriteAt(b, 512); return err },
			"address": func() error { _, err := f.WriteAt(b[1:vfs.Block+1], 0); return err },
			"vector":  func() error { return f.WriteVec([][]byte{b, b[:3]}, 0) },
		} {
			if err := write(); !errors.Is(err, vfs.ErrUnaligned) {
				t.Errorf("%s: got %v, want ErrUnaligned", name, err)
			}
		}
		if err := f.Datasync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(5*vfs.Block - 10); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, vfs.Block)
		want = append(want, b...)
		want = append(want, b[vfs.Block:]...)
		want = append(want, b[:vfs.Block]...)
		if !bytes.Equal(got, want[:5*vfs.Block-10]) {
			t.Errorf("%s: the file holds something else than was written", dir)
		}
	}
}

// shm is a folder on a tmpfs: some kernels refuse direct access there.
func shm(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vfs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	open(t, path, vfs.Write|vfs.Create|vfs.Exclusive)
	if _, err := (vfs.OS{}).OpenFile(path, vfs.Write|vfs.Create|vfs.Exclusive|vfs.Direct); !vfs.IsExist(err) {
		t.Fatalf("second exclusive open: %v", err)
	}
	if err := open(t, path, 0).Direct(); err == nil {
		t.Fatal("a file opened without Direct says that it is direct")
	}
}

func TestRenameNewHasOneWinner(t *testing.T) {
	dir := t.TempDir()
	const n = 8
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			errs[i] = vfs.OS{}.RenameNew(filepath.Join(dir, string(rune('a'+i))), filepath.Join(dir, "final"))
		})
	}
	wg.Wait()
	got, err := os.ReadFile(filepath.Join(dir, "final"))
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range errs {
		switch {
		case byte(i) == got[0] && err != nil:
			t.Errorf("the winner %d has the error %v", i, err)
		case byte(i) != got[0] && !vfs.IsExist(err):
			t.Errorf("the loser %d has the error %v", i, err)
		}
	}
	if err := (vfs.OS{}).RenameNew(filepath.Join(dir, "nothing"), filepath.Join(dir, "x")); !vfs.IsNotExist(err) {
		t.Errorf("a rename of nothing: %v", err)
	}
}

func TestRenameNewOfFolders(t *testing.T) {
	dir := t.TempDir()
	var o vfs.OS
	for _, d := range []string{"a", "b"} {
		if err := o.Mkdir(filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.RenameNew(filepath.Join(dir, "a"), filepath.Join(dir, "b")); !vfs.IsExist(err) {
		t.Fatalf("rename over an empty folder: %v", err)
	}
	if err := o.RenameNew(filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
}

func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	a, b := open(t, path, vfs.Append|vfs.Create), open(t, path, vfs.Append|vfs.Create)
	for _, f := range []vfs.File{a, b, a} {
		if err := f.Append([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	if size, err := a.Size(); err != nil || size != 15 {
		t.Fatalf("size %d, %v: want 15", size, err)
	}
}

func TestLockDeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var o vfs.OS
	held, err := o.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := o.Lock(ctx, path); !errors.Is(err, vfs.ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want ErrLocked and the deadline", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := o.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFreeAndErrors(t *testing.T) {
	dir := t.TempDir()
	var o vfs.OS
	if n, err := o.Free(dir); err != nil || n == 0 {
		t.Fatalf("free space %d, %v", n, err)
	}
	if _, err := o.Free(filepath.Join(dir, "x")); !vfs.IsNotExist(err) {
		t.Fatalf("free space of nothing: %v", err)
	}
	if err := o.SyncDir(filepath.Join(dir, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("sync of nothing: %v", err)
	}
	if err := o.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
}

func TestAlloc(t *testing.T) {
	for _, n := range []int{0, 1, vfs.Block, 3*vfs.Block + 5} {
		b := vfs.Alloc(n)
		if len(b) != n || cap(b) != n || !vfs.Aligned(b) {
			t.Errorf("Alloc(%d): len %d, cap %d, aligned %t", n, len(b), cap(b), vfs.Aligned(b))
		}
	}
	for n, want := range map[int64]int64{0: 0, 1: 4096, 4096: 4096, 4097: 8192} {
		if got := vfs.Pad(n); got != want {
			t.Errorf("Pad(%d) = %d, want %d", n, got, want)
		}
	}
}

package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// seeds are as many crashes as each test looks at.
const seeds = 400

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fs vfs.FS, path string, b []byte, sync bool) {
	t.Helper()
	f, err := fs.OpenFile(path, vfs.Write|vfs.Create)
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

// content is what a file holds, nil where there is none.
func content(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.OpenFile(path, 0)
	if vfs.IsNotExist(err) {
		return nil
	}
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	must(t, f.Close())
	return b
}

// TestCrashTearsWhatWasNotSynced writes over synced bytes and behind them: each piece of a crash is the old one or the new
// one, behind the old end also zeros or what the disk had there, and over many crashes there are whole, untouched and torn
// ones.
func TestCrashTearsWhatWasNotSynced(t *testing.T) {
	m := vfs.NewMem(0)
	old, fresh := bytes.Repeat([]byte{'o'}, 8192), bytes.Repeat([]byte{'n'}, 12288)
	write(t, m, "/f", old, true)
	must(t, m.SyncDir("/"))
	write(t, m, "/f", fresh, false)
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		b := content(t, m.Crash(seed), "/f")
		if !bytes.Equal(b, content(t, m.Crash(seed), "/f")) {
			t.Fatalf("seed %d gives two crashes", seed)
		}
		for off := 0; off < len(b); off += 512 {
			piece := b[off:min(off+512, len(b))]
			whole := bytes.Count(piece, piece[:1]) == 512 && bytes.IndexByte([]byte{'o', 'n', 0}, piece[0]) >= 0
			switch {
			case off >= 8192 && !whole:
				seen["stale"]++
			case off >= 8192 && piece[0] == 0:
				seen["zeros"]++
			case !whole || piece[0] == 0:
				t.Fatalf("seed %d: the piece at %d holds %q", seed, off, piece[:4])
			}
		}
		switch {
		case bytes.Equal(b, old):
			seen["old"]++
		case bytes.Equal(b, fresh):
			seen["new"]++
		default:
			seen["torn"]++
		}
	}
	if seen["old"] < 20 || seen["new"] < 20 || seen["torn"] < 20 || seen["stale"] < 20 || seen["zeros"] < 20 {
		t.Errorf("of %d crashes: %v", seeds, seen)
	}
	f, err := m.OpenFile("/f", 0)
	must(t, err)
	must(t, f.Datasync())
	for seed := range uint64(seeds) {
		if !bytes.Equal(content(t, m.Crash(seed), "/f"), fresh) {
			t.Fatalf("seed %d loses what was synced", seed)
		}
	}
}

// TestCrashKeepsSyncedNames makes, renames and removes with and without a sync of the folder.
func TestCrashKeepsSyncedNames(t *testing.T) {
	m := vfs.NewMem(0)
	for _, d := range []string{"/a", "/b"} {
		must(t, m.Mkdir(d))
	}
	must(t, m.SyncDir("/"))
	for _, n := range []string{"/a/made", "/a/moved", "/a/removed"} {
		write(t, m, n, []byte(n), true)
	}
	must(t, m.SyncDir("/a"))
	write(t, m, "/a/new", []byte("new"), true)
	must(t, m.Rename("/a/moved", "/b/moved"))
	must(t, m.Remove("/a/removed"))
	seen := map[string]int{}
	count := func(m *vfs.Mem) {
		t.Helper()
		if string(content(t, m, "/a/made")) != "/a/made" {
			t.Fatal("a synced file is gone")
		}
		from, to := content(t, m, "/a/moved"), content(t, m, "/b/moved")
		if (from == nil) == (to == nil) {
			t.Fatalf("a rename left %q and %q", from, to)
		}
		seen[fmt.Sprintf("moved %t", to != nil)]++
		seen[fmt.Sprintf("removed %t", content(t, m, "/a/removed") == nil)]++
		seen[fmt.Sprintf("new %t", content(t, m, "/a/new") != nil)]++
	}
	for seed := range uint64(seeds) {
		count(m.Crash(seed))
	}
	if len(seen) != 6 {
		t.Errorf("not everything happened: %v", seen)
	}
	// With one folder of the two synced the rename is still open; what needs it is not durable without it.
	must(t, m.SyncDir("/a"))
	clear(seen)
	for seed := range uint64(seeds) {
		count(m.Crash(seed))
	}
	if len(seen) != 4 || seen["removed true"] != seeds || seen["new true"] != seeds {
		t.Errorf("with one folder synced: %v", seen)
	}
	write(t, m, "/b/other", nil, true)
	must(t, m.Rename("/b/moved", "/b/again"))
	must(t, m.SyncDir("/b"))
	for seed := range uint64(seeds) {
		c := m.Crash(seed)
		if content(t, c, "/b/again") == nil || content(t, c, "/a/moved") != nil || content(t, c, "/b/moved") != nil {
			t.Fatalf("seed %d: a synced rename did not happen", seed)
		}
	}
}

// TestCrashOfCrash goes on with what a crash has left.
func TestCrashOfCrash(t *testing.T) {
	m := vfs.NewMem(0)
	write(t, m, "/f", []byte("abc"), true)
	must(t, m.SyncDir("/"))
	c := m.Crash(1)
	write(t, c, "/f", []byte("xyz"), true)
	if got := content(t, c.Crash(2), "/f"); string(got) != "xyz" {
		t.Errorf("the second crash leaves %q", got)
	}
	if got := content(t, m, "/f"); string(got) != "abc" {
		t.Errorf("the first file system holds %q", got)
	}
	if c.Used() != vfs.Block || m.Used() != vfs.Block {
		t.Errorf("used %d and %d bytes, want a block each", c.Used(), m.Used())
	}
}

func TestMemIsFull(t *testing.T) {
	m := vfs.NewMem(4 * vfs.Block)
	f, err := m.OpenFile("/f", vfs.Write|vfs.Create)
	must(t, err)
	must(t, f.Allocate(0, 3*vfs.Block))
	if err := f.Allocate(0, 5*vfs.Block); !vfs.IsFull(err) {
		t.Errorf("allocating too much: %v", err)
	}
	if _, err := f.WriteAt([]byte{1}, 4*vfs.Block); !vfs.IsFull(err) {
		t.Errorf("writing too far: %v", err)
	}
	if _, err := m.OpenFile("/g", vfs.Write|vfs.Create); err != nil {
		t.Error(err)
	}
	if _, err := m.OpenFile("/h", vfs.Write|vfs.Create); !vfs.IsFull(err) {
		t.Errorf("one file too many: %v", err)
	}
	must(t, m.Remove("/f"))
	if n, err := m.Free("/"); err != nil || n != 0 {
		t.Errorf("%d bytes are free while the file is open, %v", n, err)
	}
	must(t, f.Close())
	if n, err := m.Free("/"); err != nil || n != 3*vfs.Block {
		t.Errorf("%d bytes are free, %v", n, err)
	}
}

// TestFaults has each kind of fault at a write and at a sync.
func TestFaults(t *testing.T) {
	for in, c := range map[vfs.Injection]struct {
		write string // what is there after the write
		err   error
		short bool
	}{
		vfs.Pass: {write: "abcdef"}, vfs.Slow: {write: "abcdef"}, vfs.IO: {err: syscall.EIO}, vfs.Full: {err: syscall.ENOSPC},
		vfs.Short: {write: "abc", err: syscall.EIO, short: true}, vfs.Late: {write: "abcdef", err: syscall.EIO},
	} {
		m := vfs.NewMem(0)
		at := -1
		f := vfs.NewFault(m, time.Millisecond, func(op vfs.Op) vfs.Injection {
			if op.N == at {
				return in
			}
			return vfs.Pass
		})
		file, err := f.OpenFile("/f", vfs.Write|vfs.Create)
		must(t, err)
		at = 1
		if _, err := file.WriteAt([]byte("abcdef"), 0); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: the write's error is %v", in, err)
		}
		if got := content(t, m, "/f"); string(got) != c.write {
			t.Errorf("%s: the file holds %q, want %q", in, got, c.write)
		}
		at = 2
		if err := file.Datasync(); (err == nil) != (c.err == nil || c.short) {
			t.Errorf("%s: the sync's error is %v", in, err)
		}
		at = 3
		if err := f.SyncDir("/"); (err == nil) != (c.err == nil || c.short) {
			t.Errorf("%s: the folder sync's error is %v", in, err)
		}
		at = -1
		must(t, file.Close())
		if f.Count() != 5 {
			t.Errorf("%d operations, want 5", f.Count())
		}
	}
}

// TestFailedSyncForgets has a sync fail and another one succeed: what the first was to write may be lost all the same.
func TestFailedSyncForgets(t *testing.T) {
	lost := 0
	for skip := range seeds { // numbers of operations are the seeds of what a failed sync drops
		m := vfs.NewMem(0)
		fail := false
		f := vfs.NewFault(m, 0, func(vfs.Op) vfs.Injection {
			if fail {
				return vfs.IO
			}
			return vfs.Pass
		})
		for range skip {
			_, err := f.Stat("/")
			must(t, err)
		}
		file, err := f.OpenFile("/f", vfs.Write|vfs.Create)
		must(t, err)
		must(t, f.SyncDir("/"))
		_, err = file.WriteAt([]byte("abc"), 0)
		must(t, err)
		fail = true
		if err := file.Datasync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		fail = false
		must(t, file.Datasync())
		if got := content(t, m, "/f"); string(got) != "abc" {
			t.Fatalf("the file reads as %q", got)
		}
		if len(content(t, m.Crash(0), "/f")) == 0 {
			lost++
		}
		must(t, file.Close())
	}
	if lost < 20 || lost > seeds-20 {
		t.Errorf("%d of %d syncs have dropped what they were to write", lost, seeds)
	}
}

package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestRecoverFromDamage damages each file of a run that was cut off. What still can be had is there, the rest is named,
// and a second recovery changes no byte.
func TestRecoverFromDamage(t *testing.T) {
	edit := func(change func([]byte) []byte, elem ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			name := filepath.Join(append([]string{path}, elem...)...)
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := func(elem ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.RemoveAll(filepath.Join(append([]string{path}, elem...)...)); err != nil {
				t.Fatal(err)
			}
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	flipAt := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= 4; return b }
	}
	const journal, data = "1.3.journal", "1.3.data" // with frames 4, 5 and 7
	for name, c := range map[string]struct {
		damage   func(*testing.T, string)
		lost     map[uint64]frames.State // more than leftLost
		repaired []string
		bad      int
		torn     int
		lines    uint64
		// Frames whose chunk is not what was written: of flights before the last, and of the last.
		promised, cutShort uint64
	}{
		"nothing":          {damage: func(*testing.T, string) {}},
		"a record":         {damage: edit(flipAt(64+20), ".sluice", journal), lost: map[uint64]frames.State{4: frames.HostLost}, bad: 1},
		"a record's zeros": {damage: edit(flipAt(64+59), ".sluice", journal), lost: map[uint64]frames.State{4: frames.HostLost}, bad: 1},
		"a journal's head": {damage: edit(flipAt(30), ".sluice", journal), bad: 1},
		"a torn commit": {damage: edit(func(b []byte) []byte {
			copy(b[6*64:], bytes.Repeat([]byte{7}, 100))
			return b
		}, ".sluice", journal), torn: 2},
		"a journal is gone": {damage: gone(".sluice", journal), lost: map[uint64]frames.State{4: frames.HostLost, 5: frames.HostLost, 7: frames.HostLost}},
		"a data file is gone": {
			damage: gone(".sluice", data), lost: map[uint64]frames.State{4: frames.Unwritten, 5: frames.Unwritten, 7: frames.Unwritten},
			promised: 3,
		},
		"a data file is cut": {
			damage: edit(func(b []byte) []byte { return b[:4096] }, ".sluice", data), lost: map[uint64]frames.State{7: frames.Unwritten}, promised: 1,
		},
		"a commit is cut short": { // its chunk never came to the disk, nor did the note that it has
			damage: func(t *testing.T, path string) {
				edit(func(b []byte) []byte { clear(b[7*64:]); return b }, ".sluice", journal)(t, path)
				edit(func(b []byte) []byte { return b[:4096] }, ".sluice", data)(t, path)
			}, lost: map[uint64]frames.State{7: frames.Unwritten}, cutShort: 1,
		},
		"a torn ledger line": {damage: edit(func(b []byte) []byte { return append(b, `{"v":1,"seq":1`...) }, "ledger", "w0.jsonl"), lines: 1},
		"zarr.json is cut":   {damage: edit(half, "zarr.json"), repaired: []string{"zarr.json"}},
		"zarr.json is gone":  {damage: gone("zarr.json"), repaired: []string{"zarr.json"}},
		"zarr.json is another": {
			damage: edit(func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"shard_frames": 4`), []byte(`"shard_frames": 5`), 1)
			}, "zarr.json"), repaired: []string{"zarr.json"},
		},
		"the image's zarr.json is cut":    {damage: edit(half, "0", "zarr.json"), repaired: []string{"0/zarr.json"}},
		"a column's zarr.json is another": {damage: edit(flipAt(200), "frames", "state", "zarr.json"), repaired: []string{"frames/state/zarr.json"}},
		"the columns' zarr.json is gone":  {damage: gone("frames", "zarr.json"), repaired: []string{"frames/zarr.json"}},
		"a sealed shard's states":         {damage: edit(flipAt(1), "frames", "state", "c", "0"), repaired: []string{"frames/state/c/0"}},
		"files of others": {damage: func(t *testing.T, path string) {
			for _, name := range []string{"notes.txt", "0/c/.DS_Store", "ledger/notes.txt", ".sluice/1.2.journal~", ".sluice/9.9.journal", ".sluice/x"} {
				if err := os.WriteFile(filepath.Join(path, name), []byte("precious"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := storePath(t)
			left(t, vfs.OS{}, path, nil)
			c.damage(t, path)
			r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
			if err != nil {
				t.Fatal(err)
			}
			bad, torn := 0, 0
			for _, s := range r.Shards {
				bad, torn = bad+s.BadRecords, torn+s.TornRecords
			}
			if !slices.Equal(r.Repaired, c.repaired) && len(r.Repaired)+len(c.repaired) > 0 || bad != c.bad || torn != c.torn || r.TornLines != c.lines {
				t.Errorf("found %+v; want repaired %v, %d damaged and %d torn records, %d torn lines", r, c.repaired, c.bad, c.torn, c.lines)
			}
			if r.Damaged != c.promised || r.Torn != c.cutShort {
				t.Errorf("%d frames were durable once and are damaged, want %d; a crash has cut short the commits of %d, want %d", r.Damaged, c.promised, r.Torn, c.cutShort)
			}
			lost := leftLost()
			maps.Copy(lost, c.lost)
			checkFrames(t, path, 14, lost)
			if r := verify(t, path); !r.OK {
				t.Errorf("verify: %+v", r)
			}
			before := tree(t, path)
			again, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
			if err != nil || !again.Nothing || again.Written != r.Written || again.Lost != r.Lost {
				t.Errorf("the second recovery found %+v, %v", again, err)
			}
			if !maps.Equal(tree(t, path), before) {
				t.Error("the second recovery changed the store")
			}
		})
	}
}

// tree is every file of a folder with its bytes.
func tree(t *testing.T, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRecoverTwice runs two recoveries at once: one does the work, the other is refused or finds nothing to do.
func TestRecoverTwice(t *testing.T) {
	path := storePath(t)
	left(t, vfs.OS{}, path, nil)
	var wg sync.WaitGroup
	worked := make(chan bool, 4)
	for range cap(worked) {
		wg.Go(func() {
			r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{LockTimeout: 1})
			if err != nil && !errors.Is(err, store.ErrInUse) {
				t.Error(err)
			}
			worked <- err == nil && !r.Nothing
		})
	}
	wg.Wait()
	n := 0
	for range cap(worked) {
		if <-worked {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d recoveries did the work, want 1", n)
	}
	checkFrames(t, path, 14, leftLost())
	if r := verify(t, path); !r.OK {
		t.Errorf("verify: %+v", r)
	}
}

// TestRecoverOnFullDisk has no room at all: what was set aside is enough. Where that is in use the error says so, and
// with room the next call completes the store.
func TestRecoverOnFullDisk(t *testing.T) {
	for name, spare := range map[string]bool{"with what was set aside": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(t)
			left(t, disk, sweepPath, nil)
			if !spare {
				if err := disk.Remove(filepath.Join(sweepPath, ".sluice", "spare")); err != nil {
					t.Fatal(err)
				}
			}
			disk.SetLimit(disk.Used())
			_, err := store.Recover(t.Context(), disk, sweepPath, store.RecoverOptions{})
			if spare == (err != nil) || err != nil && !vfs.IsFull(err) {
				t.Fatalf("recovery: %v", err)
			}
			if !spare {
				disk.SetLimit(disk.Used() + 64<<12)
			}
			spec, _, err := store.KnownAttributes(disk, sweepPath)
			if err != nil {
				t.Fatal(err)
			}
			if captured, durable, err := recovered(t.Context(), disk, spec.Spec, leftLost()); err != nil || captured != 14 || durable != 7 {
				t.Errorf("%d frames, %d durable, %v", captured, durable, err)
			}
		})
	}
}

// readOnly is a disk that takes nothing.
type readOnly struct{ vfs.FS }

func (r readOnly) OpenFile(path string, flag vfs.Flag) (vfs.File, error) {
	if flag&(vfs.Write|vfs.Append|vfs.Create) != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	return r.FS.OpenFile(path, flag)
}

func (r readOnly) Mkdir(path string) error {
	if _, err := r.Stat(path); err == nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.EEXIST}
	}
	return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.EROFS}
}

func (r readOnly) Lock(_ context.Context, path string) (io.Closer, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS}
}

// TestReadOnly verifies a store that can't be written to, and can't recover it.
func TestReadOnly(t *testing.T) {
	disk := newDisk(t)
	left(t, disk, sweepPath, nil)
	if err := disk.Remove(filepath.Join(sweepPath, ".sluice", "live")); err != nil {
		t.Fatal(err)
	}
	r, err := store.Verify(t.Context(), readOnly{disk}, sweepPath, store.VerifyOptions{})
	if err != nil || r.OK || r.InUse || r.Written+r.Recoverable != 7 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	if _, err := store.Recover(t.Context(), readOnly{disk}, sweepPath, store.RecoverOptions{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("recovery: %v", err)
	}
}

// TestTakeoverOfDamagedIndex takes a published shard whose index does not hold, in a run that goes on.
func TestTakeoverOfDamagedIndex(t *testing.T) {
	for name, with := range codecs() {
		t.Run(name, func(t *testing.T) {
			spec := testSpec()
			with(&spec)
			path := storePath(t)
			s := create(t, path, spec, store.Options{LockTimeout: 1})
			sh := take(t, s, 0, 3)
			commit(t, sh, spec, 3, 1, 0)
			lose(t, sh, frames.Dropped, 2, 1)
			lock, err := vfs.OS{}.Lock(t.Context(), filepath.Join(path, ".sluice", "lock"))
			if err != nil {
				t.Fatal(err)
			}
			if err := sh.Seal(t.Context(), 4); !errors.Is(err, vfs.ErrLocked) {
				t.Fatalf("sealing without the lock: %v", err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			remove(t, path, "frames", "state", "c", "0")
			file := filepath.Join(path, "0", "c", "0", "0", "0")
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			flip(t, file, info.Size()-9)
			s1 := reopen(t, s, "w1")
			next := take(t, s1, 0, 4)
			if next.Published() || next.Missing(4) != 0 {
				t.Fatalf("published %t, %d frames missing", next.Published(), next.Missing(4))
			}
			sealTo(t, next, 4)
			finish(t, s1, 4)
			checkFrames(t, path, 4, map[uint64]frames.State{2: frames.Dropped})
			if r := verify(t, path); !r.OK {
				t.Errorf("verify: %+v", r)
			}
		})
	}
}

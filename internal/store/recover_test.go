package store_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// left is a run that was cut off: shard 0 sealed, 1 with frames under two epochs, 2 lost but for one frame that nobody
// knows, 3 with one frame of the two that were captured.
func left(t *testing.T, fs vfs.FS, path string, with func(*store.Store)) {
	t.Helper()
	spec := testSpec()
	s, err := store.Create(t.Context(), fs, path, spec, store.Options{Writer: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	shard := func(no, epoch uint64) *store.Shard { return take(t, s, no, epoch) }
	sh := shard(0, 1)
	commit(t, sh, spec, 0, 1, 2)
	lose(t, sh, frames.Dropped, 3, 1)
	sealTo(t, sh, 4)
	sh = shard(1, 2)
	commit(t, sh, spec, 4, 5)
	sh = shard(1, 3)
	commit(t, sh, spec, 7)
	lose(t, shard(2, 4), frames.Paused, 8, 3)
	s.NoteCaptured(14)
	sh = shard(3, 5)
	commit(t, sh, spec, 12)
	if with != nil {
		with(s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// leftLost are the frames that left has lost, when it is recovered.
func leftLost() map[uint64]frames.State {
	return map[uint64]frames.State{
		3: frames.Dropped, 6: frames.HostLost, 8: frames.Paused, 9: frames.Paused, 10: frames.Paused, 11: frames.HostLost, 13: frames.HostLost,
	}
}

func TestRecover(t *testing.T) {
	path := storePath(t)
	left(t, vfs.OS{}, path, func(s *store.Store) {
		if _, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{LockTimeout: time.Millisecond}); !errors.Is(err, store.ErrInUse) {
			t.Errorf("recovering a store that a writer has open: %v, want ErrInUse", err)
		}
	})
	var told []uint64
	for i := range 2 {
		r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{Progress: func(done, total uint64) { told = append(told, done, total) }})
		if err != nil {
			t.Fatal(err)
		}
		want := store.Recovery{
			V: 1, Store: path, Run: r.Run, Nothing: i == 1, Captured: 14, Written: 7, Lost: 7,
			LostByReason: map[string]uint64{"dropped": 1, "paused": 3, "host lost": 3},
		}
		if i == 0 {
			want.Sealed, want.Recovered, want.RecoveredFrames, want.HostLost = 1, 3, 4, 3
			want.Shards = []store.RecoveredShard{
				{Shard: 1, Frames: 3, Lost: 1, HostLost: 1, Owners: 1}, // the second owner has copied what the first had
				{Shard: 2, Lost: 4, HostLost: 1, Owners: 1},
				{Shard: 3, Frames: 1, Lost: 1, HostLost: 1, Owners: 1},
			}
		}
		if fmt.Sprint(r) != fmt.Sprint(want) {
			t.Errorf("recovery %d found %+v, want %+v", i, r, want)
		}
		checkFrames(t, path, 14, leftLost())
		if r := verify(t, path); !r.OK || r.Captured != 14 {
			t.Errorf("verify: %+v", r)
		}
	}
	if want := []uint64{1, 4, 2, 4, 3, 4, 4, 4}; fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("progress %v, want %v", told, want)
	}
	if _, err := store.Recover(t.Context(), vfs.OS{}, t.TempDir(), store.RecoverOptions{}); !errors.Is(err, store.ErrNotStore) {
		t.Errorf("recovering a folder: %v", err)
	}
}

// TestRecoverNamesLossesAnew: the ledger of a complete shard's loss is damaged or gone. Its states still say what was lost.
func TestRecoverNamesLossesAnew(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"a flipped bit": func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[30] ^= 1
			return os.WriteFile(file, b, 0o644)
		},
		"the file is gone":   os.Remove,
		"the folder is gone": func(file string) error { return os.RemoveAll(filepath.Dir(file)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := storePath(t)
			left(t, vfs.OS{}, path, nil)
			if err := damage(filepath.Join(path, "ledger", "w0.jsonl")); err != nil {
				t.Fatal(err)
			}
			r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
			if err != nil || r.Captured != 14 || r.Written != 7 || r.LostByReason["dropped"] != 1 {
				t.Errorf("found %+v, %v", r, err)
			}
			if !slices.Contains(r.Repaired, "ledger of shard 0") {
				t.Errorf("written anew: %q", r.Repaired)
			}
			if v := verify(t, path); !v.OK || v.Lost != 7 {
				t.Errorf("verify: %+v", v)
			}
		})
	}
}

// TestContinues makes stores after one that was cut off: the next one links to it, recovered or not, the one after that to
// none.
func TestContinues(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		name, camera, want string
		recover            bool
	}{
		{"cam0_20250101T000000Z_a.ome.zarr", "cam0", "", false},
		{"cam0_20250102T000000Z_b.ome.zarr", "cam0", "cam0_20250101T000000Z_a.ome.zarr", true},
		{"cam0_20250103T000000Z_c.ome.zarr", "cam0", "cam0_20250102T000000Z_b.ome.zarr", false},
		{"cam0_1_20250104T000000Z_d.ome.zarr", "cam0_1", "", false},
		{"cam0_20250105T000000Z_e.ome.zarr", "cam0", "", false},
	} {
		spec := testSpec()
		spec.Camera = c.camera
		s := create(t, filepath.Join(dir, c.name), spec, store.Options{})
		a, err := store.ReadAttributes(vfs.OS{}, s.Path())
		if err != nil || a.Continues != c.want {
			t.Errorf("store %d continues %q, %v: want %q", i, a.Continues, err, c.want)
		}
		if i == 2 {
			finish(t, s, 0)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if c.recover {
			if _, err := store.Recover(t.Context(), vfs.OS{}, s.Path(), store.RecoverOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestContinuesPastAnUnreadableStore: what became of an old store is no reason to refuse a run.
func TestContinuesPastAnUnreadableStore(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"cam0_20250101T000000Z_a.ome.zarr", "cam0_20250102T000000Z_b.ome.zarr", "cam0_20250103T000000Z_c.ome.zarr"} {
		if i == 1 { // a folder where a file should be: it can't be read, whoever asks
			if err := os.MkdirAll(filepath.Join(dir, name, "zarr.json"), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		s := create(t, filepath.Join(dir, name), testSpec(), store.Options{})
		a, err := store.ReadAttributes(vfs.OS{}, s.Path())
		if want := map[int]string{2: "cam0_20250101T000000Z_a.ome.zarr"}[i]; err != nil || a.Continues != want {
			t.Errorf("store %d continues %q, %v: want %q", i, a.Continues, err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecoverKnowsMore has another witness for the number of frames.
func TestRecoverKnowsMore(t *testing.T) {
	path := storePath(t)
	left(t, vfs.OS{}, path, nil)
	r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{Captured: 21})
	if err != nil || r.Captured != 21 || r.HostLost != 10 {
		t.Fatalf("found %+v, %v", r, err)
	}
	if r := verify(t, path); !r.OK {
		t.Errorf("verify: %+v", r)
	}
}

// TestRecoverRemembers has a sealed shard's journal know of more frames than anything else: the number outlives it.
func TestRecoverRemembers(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	s.NoteCaptured(9)
	commit(t, sh, spec, 0, 1, 2, 3)
	sealTo(t, sh, 4)
	if r := verify(t, path); r.Captured != 9 || r.Missing != 5 {
		t.Errorf("verify before: %+v", r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
	if err != nil || r.Captured != 9 || r.HostLost != 5 {
		t.Fatalf("found %+v, %v", r, err)
	}
	if r := verify(t, path); !r.OK || r.Captured != 9 {
		t.Errorf("verify: %+v", r)
	}
}

// TestRecoverDamage has chunks and an index that are not what was written: their frames are named, the rest is there.
func TestRecoverDamage(t *testing.T) {
	spec := testSpec()
	for name, published := range map[string]bool{"open": false, "published": true} {
		t.Run(name, func(t *testing.T) {
			path := storePath(t)
			s := create(t, path, spec, store.Options{LockTimeout: time.Millisecond})
			sh := take(t, s, 0, 1)
			commit(t, sh, spec, 0, 1)
			commit(t, sh, spec, 2, 3)
			file := filepath.Join(path, ".sluice", "0.1.data")
			if published {
				lock, err := vfs.OS{}.Lock(t.Context(), filepath.Join(path, ".sluice", "lock"))
				if err != nil {
					t.Fatal(err)
				}
				if err := sh.Seal(t.Context(), 4); !errors.Is(err, vfs.ErrLocked) {
					t.Fatal(err)
				}
				if err := lock.Close(); err != nil {
					t.Fatal(err)
				}
				for _, col := range []string{"crc32c", "state"} {
					remove(t, path, "frames", col, "c", "0")
				}
				file = filepath.Join(path, "0", "c", "0", "0", "0")
				flip(t, file, 2*4096+10) // in the index
			}
			if err := errors.Join(sh.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
			flip(t, file, 300) // in frame 1
			r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
			if err != nil || r.Damaged != 1 || r.RecoveredFrames != 3 || r.LostByReason["unwritten"] != 1 {
				t.Fatalf("found %+v, %v", r, err)
			}
			checkFrames(t, path, 4, map[uint64]frames.State{1: frames.Unwritten})
			if r := verify(t, path); !r.OK {
				t.Errorf("verify: %+v", r)
			}
		})
	}
}

// TestRecoverInPlace does not write a shard's frames again.
func TestRecoverInPlace(t *testing.T) {
	spec := testSpec()
	spec.Geometry.Height, spec.Geometry.Width, spec.ShardFrames = 512, 512, 16
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	for seq := range uint64(15) {
		commit(t, sh, spec, seq)
	}
	if err := errors.Join(sh.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards written
	written := 0
	fs := counting{vfs.OS{}, func(n int) {
		mu.Lock()
		defer mu.Unlock()
		written += n
	}}
	r, err := store.Recover(t.Context(), fs, path, store.RecoverOptions{})
	if err != nil || r.RecoveredFrames != 15 {
		t.Fatalf("found %+v, %v", r, err)
	}
	if written > 100_000 {
		t.Errorf("%d bytes were written to complete a shard of %d", written, 15*spec.Geometry.FrameBytes())
	}
	checkFrames(t, path, 15, nil)
}

// counting counts the bytes that are written.
type counting struct {
	vfs.FS
	wrote func(int)
}

type countingFile struct {
	vfs.File
	wrote func(int)
}

func (c counting) OpenFile(path string, flag vfs.Flag) (vfs.File, error) {
	f, err := c.FS.OpenFile(path, flag)
	return countingFile{f, c.wrote}, err
}

func (f countingFile) WriteAt(b []byte, off int64) (int, error) {
	f.wrote(len(b))
	return f.File.WriteAt(b, off)
}

// TestRecoverIsKilled takes the power away before each operation of a recovery, and again of the next one.
func TestRecoverIsKilled(t *testing.T) {
	disk := newDisk(t)
	left(t, disk, sweepPath, nil)
	acked := map[uint64]frames.State{}
	for seq := range uint64(14) {
		acked[seq] = frames.Durable
	}
	maps.Copy(acked, leftLost())
	spec, err := store.ReadAttributes(disk, sweepPath)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards crashes
	var crashes []*vfs.Mem
	record := func(disk *vfs.Mem, every int) vfs.FS {
		return vfs.NewFault(disk, 0, func(op vfs.Op) vfs.Injection {
			if op.N%every == 0 {
				mu.Lock()
				defer mu.Unlock()
				crashes = append(crashes, disk.Crash(uint64(op.N)))
			}
			return vfs.Pass
		})
	}
	first := disk.Crash(3)
	if _, err := store.Recover(t.Context(), record(first, 3), sweepPath, store.RecoverOptions{}); err != nil {
		t.Fatal(err)
	}
	crashes = append(crashes, first)
	for i, c := range crashes {
		if _, err := store.Recover(t.Context(), record(c, 97), sweepPath, store.RecoverOptions{}); err != nil {
			t.Fatalf("after crash %d: %v", i, err)
		}
	}
	for i, c := range crashes {
		if captured, durable, err := recovered(t.Context(), c, spec.Spec, acked); err != nil || captured != 14 || durable != 7 {
			t.Fatalf("crash %d of %d: %d frames, %d durable, %v", i, len(crashes), captured, durable, err)
		}
	}
	t.Logf("%d crashes of recoveries", len(crashes))
}

// TestSweepRecover has each operation of a recovery fail, in each way: it says so in one error, and the next one comes to
// what an undisturbed one does, from the disk as it is or as a crash leaves it.
func TestSweepRecover(t *testing.T) {
	disk := newDisk(t)
	left(t, disk, sweepPath, nil)
	a, err := store.ReadAttributes(disk, sweepPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []vfs.Injection{vfs.IO, vfs.Full, vfs.Short, vfs.Late, vfs.Slow} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			faults, failed := 0, 0
			for i, hit := 0, true; hit; i++ {
				if leftOut(i, kind) {
					continue
				}
				c := disk.Crash(uint64(i))
				var op vfs.Op
				hit = false
				faulty := vfs.NewFault(c, time.Millisecond, func(o vfs.Op) vfs.Injection {
					if o.N != i {
						return vfs.Pass
					}
					hit, op = true, o
					return kind
				})
				_, err := store.Recover(t.Context(), faulty, sweepPath, store.RecoverOptions{})
				what := fmt.Sprintf("%s at operation %d (%s %s)", kind, i, op.Name, op.Path)
				switch {
				case err == nil:
				case !hit || kind == vfs.Slow:
					t.Fatalf("%s: %v", what, err)
				case kind == vfs.Full && !vfs.IsFull(err) || kind != vfs.Full && !errors.Is(err, syscall.EIO):
					t.Fatalf("%s: the error does not say so: %v", what, err)
				case strings.Contains(err.Error(), "\n"):
					t.Fatalf("%s: more than one error: %v", what, err)
				default:
					failed++
				}
				faults++
				if i%2 == 1 {
					c = c.Crash(uint64(i))
				}
				if captured, durable, err := recovered(t.Context(), c, a.Spec, leftLost()); err != nil || captured != 14 || durable != 7 {
					t.Fatalf("%s: %d frames, %d durable, %v", what, captured, durable, err)
				}
			}
			t.Logf("%d faults, %d ended the recovery; frames durable after the next 7 of 7", faults, failed)
		})
	}
}

// TestSweepVerify has each operation of a verification fail: it never says that a store is sound which it could not
// read, and changes nothing.
func TestSweepVerify(t *testing.T) {
	whole, cut := newDisk(t), newDisk(t)
	if err := wholeRun(t, whole, testSpec()); err != nil {
		t.Fatal(err)
	}
	left(t, cut, sweepPath, nil)
	faults := 0
	for name, disk := range map[string]*vfs.Mem{"finished": whole, "unfinished": cut} {
		want, err := store.Verify(t.Context(), disk, sweepPath, store.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []vfs.Injection{vfs.IO, vfs.Late, vfs.Slow} {
			for i, hit := 0, true; hit; i++ {
				var op vfs.Op
				hit = false
				faulty := vfs.NewFault(disk, time.Millisecond, func(o vfs.Op) vfs.Injection {
					switch {
					case o.N == i:
						hit, op = true, o
						return kind
					case !slices.Contains([]string{"open", "read", "stat", "read folder", "close", "lock"}, o.Name):
						t.Errorf("verify does %s %s", o.Name, o.Path)
					}
					return vfs.Pass
				})
				r, err := store.Verify(t.Context(), faulty, sweepPath, store.VerifyOptions{Parallel: 1})
				faults++
				same := fmt.Sprint(r) == fmt.Sprint(want)
				harmless := kind != vfs.IO || !hit || slices.Contains([]string{"stat", "close", "lock"}, op.Name)
				if err != nil && (kind == vfs.Slow || !errors.Is(err, syscall.EIO)) || err == nil && !same && r.OK || err == nil && !harmless && same {
					t.Fatalf("%s: %s at operation %d (%s %s): %v, %+v", name, kind, i, op.Name, op.Path, err, r)
				}
			}
		}
	}
	t.Logf("%d faults", faults)
}

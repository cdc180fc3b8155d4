package store_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// shardOn makes a store on a disk and takes its first shard.
func shardOn(t *testing.T, disk vfs.FS, spec run.Spec) (*store.Store, *store.Shard) {
	t.Helper()
	return shardAt(t, disk, sweepPath, spec, store.Hooks{})
}

// shardAt is shardOn for a store that has its place and is listened to.
func shardAt(t *testing.T, disk vfs.FS, path string, spec run.Spec, hooks store.Hooks) (*store.Store, *store.Shard) {
	t.Helper()
	s, err := store.Create(t.Context(), disk, path, spec, store.Options{Writer: "w0", Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	sh, err := s.TakeShard(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s, sh
}

// TestCommitBehindFailedSync: a commit that waits for the sync of another one must not sync the file again when that
// fails. The kernel tells of pages that it could not write once, and a second sync would promise what is gone.
func TestCommitBehindFailedSync(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			fail := make(chan struct{})
			var syncs atomic.Int64
			disk := vfs.NewFault(newDisk(t), 0, func(op vfs.Op) vfs.Injection {
				if op.Name != "fdatasync" || !strings.HasSuffix(op.Path, ".data") || syncs.Add(1) > 1 {
					return vfs.Pass
				}
				<-fail
				return vfs.IO
			})
			spec := testSpec()
			s, sh := shardOn(t, disk, spec)
			var errs [3]error
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() { errs[i] = sh.Commit(t.Context(), []store.Frame{testFrame(spec, uint64(i), true)}, nil) })
				synctest.Wait() // the first one is in its sync, the others wait for theirs
			}
			close(fail)
			wg.Wait()
			for i, err := range errs {
				if !errors.Is(err, store.ErrBroken) {
					t.Errorf("commit %d: %v", i, err)
				}
			}
			if n := syncs.Load(); n != 1 {
				t.Errorf("the file was synced %d times", n)
			}
			if err := errors.Join(sh.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestSyncTakesWritesAlong: a frame that is written when the turn of another one's sync comes is synced with it; one whose
// write comes to nothing holds nobody up, nor does one that has not begun.
func TestSyncTakesWritesAlong(t *testing.T) {
	for name, c := range map[string]struct {
		intact  error // of the frame that is being written
		durable int   // frames
	}{
		"written":   {nil, 2},
		"reclaimed": {frames.ErrReclaimed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var writes, syncs atomic.Int64
				disk := vfs.NewFault(newDisk(t), 0, func(op vfs.Op) vfs.Injection {
					switch {
					case !strings.HasSuffix(op.Path, ".data"):
					case op.Name == "fdatasync":
						syncs.Add(1)
					case strings.HasPrefix(op.Name, "write") && writes.Add(1) == 1:
						<-release
					}
					return vfs.Pass
				})
				spec := testSpec()
				codecs()["direct"](&spec)
				s, sh := shardOn(t, disk, spec)
				var wg sync.WaitGroup
				slow := testFrame(spec, 1, true)
				slow.Intact = func() error { return c.intact }
				var slowErr, quickErr error
				wg.Go(func() { slowErr = sh.Commit(t.Context(), []store.Frame{slow}, nil) })
				synctest.Wait()
				wg.Go(func() { quickErr = sh.Commit(t.Context(), []store.Frame{testFrame(spec, 0, true)}, nil) })
				synctest.Wait()
				if w, n := writes.Load(), syncs.Load(); w != 2 || n != 0 {
					t.Errorf("while one of two frames is being written: %d writes, %d syncs, want 2 and 0", w, n)
				}
				close(release)
				wg.Wait()
				if !errors.Is(slowErr, c.intact) || quickErr != nil {
					t.Errorf("the commits: %v, want %v; %v", slowErr, c.intact, quickErr)
				}
				durable := 0
				for seq := range uint64(2) {
					if sh.State(seq) == frames.Durable {
						durable++
					}
				}
				if n := syncs.Load(); durable != c.durable || n != 1 {
					t.Errorf("%d frames are durable after %d syncs, want %d after 1", durable, n, c.durable)
				}
				if err := errors.Join(sh.Close(), s.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// cached is a disk that can't be written past the page cache.
type cached struct{ vfs.FS }

func (c cached) OpenFile(path string, flag vfs.Flag) (vfs.File, error) {
	return c.FS.OpenFile(path, flag&^vfs.Direct)
}

// TestNoRecordOfWhatIsOnlyCached: in the page cache a chunk whose sync failed looks whole, so no record may stand for it.
func TestNoRecordOfWhatIsOnlyCached(t *testing.T) {
	var taken atomic.Bool
	var records atomic.Int64
	disk := vfs.NewFault(cached{newDisk(t)}, 0, func(op vfs.Op) vfs.Injection {
		switch {
		case taken.Load() && op.Name == "write" && strings.HasSuffix(op.Path, ".journal"):
			records.Add(1)
		case taken.Load() && op.Name == "fdatasync" && strings.HasSuffix(op.Path, ".data"):
			return vfs.IO
		}
		return vfs.Pass
	})
	spec := testSpec()
	s, sh := shardOn(t, disk, spec)
	taken.Store(true)
	if err := sh.Commit(t.Context(), []store.Frame{testFrame(spec, 0, true)}, nil); !errors.Is(err, store.ErrBroken) || records.Load() != 0 {
		t.Errorf("the commit: %v, want ErrBroken; %d records were written", err, records.Load())
	}
	if err := errors.Join(sh.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

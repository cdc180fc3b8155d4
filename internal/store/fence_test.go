package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// codecs are the two ways in which chunks are placed, and compression.
func codecs() map[string]func(*run.Spec) {
	return map[string]func(*run.Spec){
		"packed": func(*run.Spec) {},
		"direct": func(s *run.Spec) { s.Geometry.Height, s.Geometry.Width = 64, 63 },
		"zstd":   func(s *run.Spec) { s.Codec, s.Level = "zstd", 3 },
	}
}

// TestTakeoverFencesTheOldOwner is a writer that is stopped, given up, and wakes up again.
func TestTakeoverFencesTheOldOwner(t *testing.T) {
	for name, with := range codecs() {
		t.Run(name, func(t *testing.T) {
			spec := testSpec()
			with(&spec)
			path := storePath(t)
			s0 := create(t, path, spec, store.Options{})
			old := take(t, s0, 0, 1)
			commit(t, old, spec, 0, 2)
			lose(t, old, frames.Dropped, 1, 1)

			s1 := reopen(t, s0, "w1")
			owner := take(t, s1, 0, 2)
			for seq, want := range []frames.State{frames.Durable, frames.Dropped, frames.Durable, frames.Absent} {
				if got := owner.State(uint64(seq)); got != want {
					t.Errorf("frame %d is %s to the new owner, want %s", seq, got, want)
				}
			}
			// The old one wakes up: it can write, and seal nothing.
			commit(t, old, spec, 3)
			if err := old.Seal(t.Context(), 4); !errors.Is(err, store.ErrFenced) {
				t.Fatalf("the old owner's seal: %v, want ErrFenced", err)
			}
			if n, err := s1.ReadableUntil(); err != nil || n != 0 {
				t.Fatalf("readable until %d, %v", n, err)
			}
			commit(t, owner, spec, 3)
			sealTo(t, owner, 4)
			if err := old.Seal(t.Context(), 4); !errors.Is(err, store.ErrFenced) {
				t.Fatalf("the old owner's second seal: %v, want ErrFenced", err)
			}
			finish(t, s1, 4)
			if err := old.Seal(t.Context(), 4); !errors.Is(err, store.ErrFenced) {
				t.Fatalf("the old owner's seal after the end: %v, want ErrFenced", err)
			}
			checkFrames(t, path, 4, map[uint64]frames.State{1: frames.Dropped})
			if r := verify(t, path); !r.OK {
				t.Errorf("verify: %+v", r)
			}
		})
	}
}

func TestLowerEpochIsRefused(t *testing.T) {
	spec := testSpec()
	s := create(t, storePath(t), spec, store.Options{})
	take(t, s, 0, 5)
	for _, epoch := range []uint64{4, 5} {
		if _, err := s.TakeShard(t.Context(), 0, epoch); !errors.Is(err, store.ErrFenced) {
			t.Errorf("epoch %d after 5: %v, want ErrFenced", epoch, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.Path(), ".sluice"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"0.5.data", "0.5.journal", "live", "spare", "spec"}, e.Name()) {
			t.Errorf("the refused left %s", e.Name())
		}
	}
}

// TestRacingOwners lets many owners take one shard at once: the highest epoch has it, and everybody else can
// publish nothing.
func TestRacingOwners(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	const n = 8
	shards := make([]*store.Shard, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { shards[i], errs[i] = s.TakeShard(t.Context(), 0, uint64(i+1)) })
	}
	wg.Wait()
	if errs[n-1] != nil {
		t.Fatalf("the highest epoch: %v", errs[n-1])
	}
	for i, sh := range shards {
		if errs[i] != nil {
			if !errors.Is(errs[i], store.ErrFenced) {
				t.Errorf("epoch %d: %v", i+1, errs[i])
			}
			continue
		}
		t.Cleanup(func() { sh.Close() })
		commit(t, sh, spec, 0, 1, 2, 3)
		if err := sh.Seal(t.Context(), 4); i < n-1 && !errors.Is(err, store.ErrFenced) || i == n-1 && err != nil {
			t.Errorf("epoch %d seals: %v", i+1, err)
		}
	}
	finish(t, s, 4)
	checkFrames(t, path, 4, nil)
}

// TestTakeoverOfPublishedAndSealed takes shards whose owner died between publishing and the end of the seal.
func TestTakeoverOfPublishedAndSealed(t *testing.T) {
	for name, with := range codecs() {
		for _, c := range []struct {
			name   string
			remove []string // what the dead owner had not written yet
			sealed bool
		}{
			{"published", []string{"time_host_ns", "crc32c", "state"}, false},
			{"sealed", nil, true},
		} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				spec := testSpec()
				with(&spec)
				path := storePath(t)
				s := create(t, path, spec, store.Options{LockTimeout: 10 * time.Millisecond})
				sh := take(t, s, 0, 3)
				commit(t, sh, spec, 3, 1, 0)
				lose(t, sh, frames.Dropped, 2, 1)
				// With the lock in other hands the seal ends before the arrays grow and the journal goes.
				lock, err := vfs.OS{}.Lock(t.Context(), filepath.Join(path, ".sluice", "lock"))
				if err != nil {
					t.Fatal(err)
				}
				if err := sh.Seal(t.Context(), 4); !errors.Is(err, vfs.ErrLocked) {
					t.Fatalf("sealing without the lock: %v", err)
				}
				if err := errors.Join(lock.Close(), sh.Close()); err != nil {
					t.Fatal(err)
				}
				for _, col := range c.remove {
					if err := os.Remove(filepath.Join(path, "frames", col, "c", "0")); err != nil {
						t.Fatal(err)
					}
				}
				if r := verify(t, path); r.OK || r.Finished || r.Missing != 0 || r.Captured != 4 {
					t.Errorf("verify of the unfinished store: %+v", r)
				}
				s1 := reopen(t, s, "w1")
				next := take(t, s1, 0, 4)
				if next.Sealed() != c.sealed || next.Missing(4) != 0 || next.State(1) != frames.Durable || next.State(2) != frames.Dropped {
					t.Fatalf("sealed %t, missing %d, states %s %s", next.Sealed(), next.Missing(4), next.State(1), next.State(2))
				}
				if err := next.Commit(t.Context(), []store.Frame{testFrame(spec, 1, true)}, nil); !errors.Is(err, store.ErrFrame) {
					t.Errorf("a frame for a complete shard: %v", err)
				}
				sealTo(t, next, 4)
				sealTo(t, next, 4)
				finish(t, s1, 4)
				checkFrames(t, path, 4, map[uint64]frames.State{2: frames.Dropped})
				if r := verify(t, path); !r.OK {
					t.Errorf("verify: %+v", r)
				}
			})
		}
	}
}

// TestSealIsRepeatable repeats a seal that could not get the lock.
func TestSealIsRepeatable(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{LockTimeout: time.Millisecond})
	sh := take(t, s, 0, 1)
	commit(t, sh, spec, 0, 1, 2, 3)
	lock, err := vfs.OS{}.Lock(t.Context(), filepath.Join(path, ".sluice", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sh.Seal(t.Context(), 4); !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("got %v, want ErrLocked", err)
		}
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	sealTo(t, sh, 4)
	if !sh.Sealed() {
		t.Error("the shard does not know that it is sealed")
	}
	finish(t, s, 4)
	checkFrames(t, path, 4, nil)
}

// TestTornJournal cuts a journal everywhere in its last record: what was synced before stays.
func TestTornJournal(t *testing.T) {
	spec := testSpec()
	spec.ShardFrames = 3
	for cut := range 64 {
		path := storePath(t)
		s := create(t, path, spec, store.Options{})
		sh := take(t, s, 0, 1)
		commit(t, sh, spec, 0)
		commit(t, sh, spec, 1)
		if err := sh.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(path, ".sluice", "0.1.journal")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Header, record 0, captured, synced, record 1, captured, synced.
		clear(b[4*64+cut:])
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		next := take(t, s, 0, 2)
		if next.State(0) != frames.Durable || next.State(1) != frames.Absent {
			t.Fatalf("cut at %d: states %s %s, want durable and absent", cut, next.State(0), next.State(1))
		}
		commit(t, next, spec, 1, 2)
		sealTo(t, next, 3)
		checkFrames(t, path, 3, nil)
	}
}

// TestTakeoverDropsDamagedChunks damages a journaled chunk: the new owner doesn't take it over.
func TestTakeoverDropsDamagedChunks(t *testing.T) {
	for name, with := range codecs() {
		t.Run(name, func(t *testing.T) {
			spec := testSpec()
			with(&spec)
			path := storePath(t)
			s := create(t, path, spec, store.Options{})
			sh := take(t, s, 0, 1)
			commit(t, sh, spec, 0)
			commit(t, sh, spec, 1)
			if err := sh.Close(); err != nil {
				t.Fatal(err)
			}
			flip(t, filepath.Join(path, ".sluice", "0.1.data"), 100)
			next := take(t, s, 0, 2)
			if next.State(0) != frames.Absent || next.State(1) != frames.Durable {
				t.Fatalf("states %s %s, want absent and durable", next.State(0), next.State(1))
			}
			want := frames.Loss{
				Seq: 0, Count: 1, FirstFrameID: 1000, LastFrameID: 1000, FirstNS: 1_700_000_000_000_000_000, LastNS: 1_700_000_000_000_000_000,
				Reason: frames.Unwritten, Stage: frames.AtWriter,
			}
			if d := next.Damaged(); !slices.Equal(d, []frames.Loss{want}) {
				t.Errorf("damaged are %+v", d)
			}
			commit(t, next, spec, 0, 2, 3)
			if d := next.Damaged(); len(d) > 0 {
				t.Errorf("damaged are %+v after the frame came again", d)
			}
			sealTo(t, next, 4)
			checkFrames(t, path, 4, nil)
		})
	}
}

// flip inverts the byte of a file at off.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] = ^b[0]
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// TestRandomKillPoints gives up shards at random points, again and again, and goes on with what is durable.
func TestRandomKillPoints(t *testing.T) {
	for seed := range uint64(12) {
		for name, with := range codecs() {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 7))
				spec := testSpec()
				with(&spec)
				spec.ShardFrames = 1 + rng.Uint64N(9)
				captured := 1 + rng.Uint64N(30)
				path := storePath(t)
				s := create(t, path, spec, store.Options{})
				known := map[uint64]frames.State{}
				epoch := uint64(0)
				for no := range spec.Shards(captured) {
					first, end := no*spec.ShardFrames, min((no+1)*spec.ShardFrames, captured)
					for sealed := false; !sealed; {
						epoch++
						sh := take(t, s, no, epoch)
						for seq := first; seq < end; seq++ {
							if want := known[seq]; want != sh.State(seq) {
								t.Fatalf("epoch %d: frame %d is %s, was %s", epoch, seq, sh.State(seq), want)
							}
							if sh.State(seq) != frames.Absent {
								continue
							}
							switch rng.IntN(6) {
							case 0:
								lose(t, sh, frames.Dropped, seq, 1)
								known[seq] = frames.Dropped
							case 1:
								seq = end // killed
							default:
								commit(t, sh, spec, seq)
								known[seq] = frames.Durable
							}
						}
						if sh.Missing(end) == 0 && rng.IntN(3) > 0 {
							sealTo(t, sh, end)
							sealed = true
						}
						if err := sh.Close(); err != nil {
							t.Fatal(err)
						}
					}
				}
				finish(t, s, captured)
				maps.DeleteFunc(known, func(_ uint64, st frames.State) bool { return st == frames.Durable })
				checkFrames(t, path, captured, known)
				if r := verify(t, path); !r.OK {
					t.Errorf("verify: %+v", r)
				}
			})
		}
	}
}

// TestConcurrentCommits has many commits in flight on several shards, from memory of all kinds.
func TestConcurrentCommits(t *testing.T) {
	for name, with := range codecs() {
		t.Run(name, func(t *testing.T) {
			spec := testSpec()
			with(&spec)
			spec.ShardFrames = 40
			path := storePath(t)
			s := create(t, path, spec, store.Options{Depth: 3, Encoders: 2})
			var wg sync.WaitGroup
			for no := range uint64(3) {
				sh := take(t, s, no, no+1)
				for part := range uint64(10) {
					wg.Go(func() {
						first := no*40 + part*4
						fs := []store.Frame{testFrame(spec, first, true), testFrame(spec, first+1, true), testFrame(spec, first+2, false)}
						if err := sh.Commit(t.Context(), fs, []frames.Loss{loss(frames.Missed, first+3, 1)}); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			for no := range uint64(3) {
				sh := take(t, s, no, no+10)
				sealTo(t, sh, no*40+40)
			}
			lost := map[uint64]frames.State{}
			for seq := uint64(3); seq < 120; seq += 4 {
				lost[seq] = frames.Missed
			}
			checkFrames(t, path, 120, lost)
		})
	}
}

// TestUnconfirmedCommit: a commit that nobody was told of comes again in a run that goes on; recover keeps what is whole of
// it, since there is nobody who would bring it again.
func TestUnconfirmedCommit(t *testing.T) {
	spec := testSpec()
	left := func() (path string, s *store.Store) {
		path = storePath(t)
		s = create(t, path, spec, store.Options{})
		sh := take(t, s, 0, 1)
		commit(t, sh, spec, 0)
		commit(t, sh, spec, 1)
		if err := sh.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(path, ".sluice", "0.1.journal")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Header, record 0, captured, synced, record 1, captured, synced.
		clear(b[6*64:])
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path, s
	}

	path, s := left()
	next := take(t, s, 0, 2)
	if next.State(0) != frames.Durable || next.State(1) != frames.Absent || len(next.Damaged()) != 0 {
		t.Errorf("taken over: states %s %s, damaged %v; want durable, absent, none", next.State(0), next.State(1), next.Damaged())
	}
	commit(t, next, spec, 1, 2, 3)
	sealTo(t, next, 4)
	finish(t, s, 4)
	checkFrames(t, path, 4, nil)

	path, s = left()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := store.Recover(t.Context(), vfs.OS{}, path, store.RecoverOptions{})
	if err != nil || r.Written != 2 || r.Lost != 0 {
		t.Errorf("recovered: %+v, %v; want two frames", r, err)
	}
	checkFrames(t, path, 2, nil)
}

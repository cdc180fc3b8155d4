package store_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// TestRoundsOfSyncs counts the syncs of a shard's life, and how many of them one has to wait for one after the other: on a
// disk on which each takes a second, and all else no time.
func TestRoundsOfSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		disk := vfs.NewFault(newDisk(t), time.Second, func(op vfs.Op) vfs.Injection {
			if strings.HasSuffix(op.Name, "sync") || op.Name == "sync folder" {
				syncs.Add(1)
				return vfs.Slow
			}
			return vfs.Pass
		})
		spec := testSpec()
		codecs()["direct"](&spec)
		s, err := store.Create(t.Context(), disk, sweepPath, spec, store.Options{Writer: "w0"})
		if err != nil {
			t.Fatal(err)
		}
		var sh *store.Shard
		for _, step := range []struct {
			name          string
			do            func()
			rounds, syncs int64
		}{
			{"take", func() { sh = take(t, s, 0, 1) }, 0, 0},
			{"the first commit", func() { commit(t, sh, spec, 0) }, 1, 3},
			{"a commit", func() { commit(t, sh, spec, 1, 2) }, 1, 2},
			{"the last commit", func() { commit(t, sh, spec, 3); s.NoteCaptured(9) }, 1, 2},
			{"seal", func() { sealTo(t, sh, 4) }, 6, 33},
		} {
			began, before := time.Now(), syncs.Load()
			step.do()
			rounds, n := int64(time.Since(began)/time.Second), syncs.Load()-before
			t.Logf("%s: %d syncs in %d rounds", step.name, n, rounds)
			if rounds != step.rounds || n != step.syncs {
				t.Errorf("%s: %d syncs in %d rounds, want %d in %d", step.name, n, rounds, step.syncs, step.rounds)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOneGrowsForAll: of shards that are sealed at the same time one makes the arrays grow, and nobody else asks for the
// store's lock, for which other writers wait too.
func TestOneGrowsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks atomic.Int64
		disk := vfs.NewFault(newDisk(t), time.Second, func(op vfs.Op) vfs.Injection {
			switch {
			case op.Name == "lock":
				locks.Add(1)
			case strings.HasSuffix(op.Name, "sync") || op.Name == "sync folder":
				return vfs.Slow
			}
			return vfs.Pass
		})
		spec := testSpec()
		s, err := store.Create(t.Context(), disk, sweepPath, spec, store.Options{Writer: "w0"})
		if err != nil {
			t.Fatal(err)
		}
		const shards = 8
		var all sync.WaitGroup
		locks.Store(0)
		for no := range uint64(shards) {
			sh := take(t, s, no, no+1)
			first := no * spec.ShardFrames
			commit(t, sh, spec, first, first+1, first+2, first+3)
			all.Go(func() {
				if err := sh.Seal(t.Context(), first+spec.ShardFrames); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n, err := s.ReadableUntil(); n != shards*spec.ShardFrames || err != nil {
			t.Errorf("readable until %d, %v", n, err)
		}
		n := locks.Load()
		t.Logf("%d locks for %d shards", n, shards)
		if n >= shards {
			t.Errorf("the store was locked %d times for %d shards", n, shards)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

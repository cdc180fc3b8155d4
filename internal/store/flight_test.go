package store_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

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
			s, err := store.Create(t.Context(), disk, sweepPath, spec, store.Options{Writer: "w0"})
			if err != nil {
				t.Fatal(err)
			}
			sh, err := s.TakeShard(t.Context(), 0, 1)
			if err != nil {
				t.Fatal(err)
			}
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

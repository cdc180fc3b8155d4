package store_test

import (
	"path/filepath"
	"testing"

	"github.com/sluicedaq/sluice/internal/store"
)

// BenchmarkShard is what a shard costs besides its frames' commits: to take it, and to seal it. Nearly all of it is waiting
// for the disk that TMPDIR is on.
func BenchmarkShard(b *testing.B) {
	spec := testSpec()
	s := create(b, filepath.Join(b.TempDir(), spec.Store), spec, store.Options{})
	for no := uint64(0); b.Loop(); no++ {
		sh, err := s.TakeShard(b.Context(), no, no+1)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		first := no * spec.ShardFrames
		commit(b, sh, spec, first, first+1, first+2, first+3)
		b.StartTimer()
		sealTo(b, sh, first+spec.ShardFrames)
	}
}

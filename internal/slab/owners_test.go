package slab

import "testing"

// TestOwners: the newest owner of each shard is known to the next acquire, but for shards that are far behind others.
func TestOwners(t *testing.T) {
	s := mustCreate(t, 64, 2)
	for _, o := range []struct{ shard, epoch uint64 }{{0, 1}, {1, 2}, {7, 3}, {ownerEntries + 1, 5}} {
		s.SetOwner(o.shard, o.epoch)
	}
	s.SetOwner(0, 6)
	s.SetOwner(8, 7)
	s.SetOwner(ownerEntries+8, 8)
	path := s.Path()
	kill(t, s)
	s = mustResume(t, path)
	for shard, want := range map[uint64]uint64{0: 6, 1: 0, 7: 3, ownerEntries + 1: 5, 8: 0, ownerEntries + 8: 8, 2: 0, ^uint64(0): 0} {
		if got := s.Owner(shard); got != want {
			t.Errorf("shard %d has epoch %d, want %d", shard, got, want)
		}
	}
}

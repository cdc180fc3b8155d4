package slab

import (
	"sync/atomic"
	"unsafe"
)

// An owner entry: the shard's number + 1 8, its epoch 8. A shard's entry is the one of its number modulo the entries: of
// two that share one, the older is forgotten. The epoch is 0 while an entry changes, so that a kill never leaves one
// shard with another one's.
const (
	ownerEntries = 4096
	ownerSize    = 16
)

// ownerWord is a word of a shard's entry: 0 its number, 1 its epoch.
func (s *Slab) ownerWord(shard uint64, word int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.mem[s.ownersAt+int(shard%ownerEntries)*ownerSize+8*word]))
}

// SetOwner records under which epoch a shard was given to its owner: who had it before has it no more, whatever a next
// acquire is told. It and Owner are not called concurrently.
func (s *Slab) SetOwner(shard, epoch uint64) {
	s.ownerWord(shard, 1).Store(0)
	s.ownerWord(shard, 0).Store(shard + 1)
	s.ownerWord(shard, 1).Store(epoch)
}

// Owner is the epoch under which a shard was last given to an owner, 0 where that is not known.
func (s *Slab) Owner(shard uint64) uint64 {
	if s.ownerWord(shard, 0).Load() != shard+1 {
		return 0
	}
	return s.ownerWord(shard, 1).Load()
}

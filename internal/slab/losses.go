package slab

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// A loss entry: state 4 (1 pending, 0 free), crc32c 4, a frames.LossRecord 64, unused 8. The state is written
// last when an entry begins and first when it ends. A change of a pending entry goes to a fresh one first, so
// that a kill between two stores never leaves a range half written.
const lossRecordAt = 8

// losses is the table of ranges of lost frames that no ledger has confirmed yet.
type losses struct {
	mem  []byte
	free []int
}

func newLosses(mem []byte) *losses {
	t := &losses{mem: mem}
	for i := t.size() - 1; i >= 0; i-- {
		if t.state(i).Load() != pendingLoss {
			t.free = append(t.free, i)
		}
	}
	return t
}

const pendingLoss = 1

// size is the number of entries.
func (t *losses) size() int { return len(t.mem) / lossSize }

func (t *losses) entry(i int) []byte { return t.mem[i*lossSize : (i+1)*lossSize] }

// state is atomic for its order among the other stores.
func (t *losses) state(i int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&t.mem[i*lossSize]))
}

// add stores a range and returns its entry, unless fewer than spare would be left free.
func (t *losses) add(l frames.Loss, spare int) (int, error) {
	if err := l.Valid(); err != nil {
		return 0, err
	}
	if len(t.free) <= spare {
		return 0, fmt.Errorf("frames %d to %d: %w", l.Seq, l.End()-1, ErrLossTable)
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	e := t.entry(i)
	body := frames.AppendLossRecord(e[lossRecordAt:lossRecordAt], frames.LossRecord{Loss: l})
	binary.LittleEndian.PutUint32(e[4:], crc32.Checksum(body, castagnoli))
	t.state(i).Store(pendingLoss)
	return i, nil
}

// remove frees an entry, once.
func (t *losses) remove(i int) {
	if i >= 0 && i < t.size() && t.state(i).CompareAndSwap(pendingLoss, 0) {
		t.free = append(t.free, i)
	}
}

// get returns a pending entry; false for one that is free or not sound.
func (t *losses) get(i int) (frames.Loss, bool) {
	e := t.entry(i)
	body := e[lossRecordAt : lossRecordAt+frames.LossRecordSize]
	if t.state(i).Load() != pendingLoss || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(e[4:]) {
		return frames.Loss{}, false
	}
	recs, err := frames.DecodeLossRecords(nil, body)
	if err != nil {
		return frames.Loss{}, false
	}
	return recs[0].Loss, true
}

// pending returns the entries in use by number.
func (t *losses) pending() map[int]frames.Loss {
	found := map[int]frames.Loss{}
	for i := range t.size() {
		if l, ok := t.get(i); ok {
			found[i] = l
		}
	}
	return found
}

// repair drops entries that are not sound, and those that another one covers: a kill came between the two
// stores of a change.
func (t *losses) repair() {
	found := t.pending()
	for i := range t.size() {
		if _, ok := found[i]; !ok {
			t.remove(i)
		}
	}
	// Each entry comes after all that could cover it.
	order := slices.SortedFunc(maps.Keys(found), func(i, j int) int {
		a, b := found[i], found[j]
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(b.End(), a.End()), cmp.Compare(i, j))
	})
	var end uint64
	for n, i := range order {
		if n > 0 && found[i].End() <= end {
			t.remove(i)
		}
		end = max(end, found[i].End())
	}
}

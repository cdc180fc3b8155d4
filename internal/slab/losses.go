package slab

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

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
	for i := range lossEntries {
		if i := lossEntries - 1 - i; t.state(i) == 0 {
			t.free = append(t.free, i)
		}
	}
	return t
}

func (t *losses) entry(i int) []byte { return t.mem[i*lossSize : (i+1)*lossSize] }

func (t *losses) state(i int) uint32 { return binary.LittleEndian.Uint32(t.entry(i)) }

// add stores a range and returns its entry.
func (t *losses) add(l frames.Loss) (int, error) {
	if len(t.free) == 0 {
		return 0, fmt.Errorf("frames %d to %d: %w", l.Seq, l.End()-1, ErrLossTable)
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	e := t.entry(i)
	frames.AppendLossRecord(e[lossRecordAt:lossRecordAt], frames.LossRecord{Loss: l})
	binary.LittleEndian.PutUint32(e[4:], crc32.Checksum(e[lossRecordAt:lossRecordAt+frames.LossRecordSize], castagnoli))
	binary.LittleEndian.PutUint32(e, 1)
	return i, nil
}

// remove frees an entry.
func (t *losses) remove(i int) {
	binary.LittleEndian.PutUint32(t.entry(i), 0)
	t.free = append(t.free, i)
}

// pending returns the sound entries by number. An entry that is covered by another one (a change that a kill
// interrupted) is dropped.
func (t *losses) pending() map[int]frames.Loss {
	found := map[int]frames.Loss{}
	for i := range lossEntries {
		e := t.entry(i)
		if t.state(i) != 1 {
			continue
		}
		body := e[lossRecordAt : lossRecordAt+frames.LossRecordSize]
		recs, err := frames.DecodeLossRecords(nil, body)
		if err != nil || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(e[4:]) {
			t.remove(i)
			continue
		}
		found[i] = recs[0].Loss
	}
	for i, a := range found {
		for j, b := range found {
			if i != j && a.Seq == b.Seq && (a.Count < b.Count || a.Count == b.Count && i > j) {
				t.remove(i)
				delete(found, i)
				break
			}
		}
	}
	return found
}

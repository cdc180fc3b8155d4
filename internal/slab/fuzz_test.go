package slab

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// FuzzParse: no header makes parse panic, or lead out of the file.
func FuzzParse(f *testing.F) {
	spec := testSpec(5000)
	spec.Run = frames.RunID{1, 2, 3}
	text, err := json.Marshal(spec)
	if err != nil {
		f.Fatal(err)
	}
	head := func(slots int) ([]byte, int64) {
		b := make([]byte, PageSize+specSize)
		l := newLayout(spec, slots, len(text))
		l.put(b, text)
		return b, int64(l.total)
	}
	b, size := head(3)
	// Only the parts that matter travel through the corpus: the fixed header and the description.
	f.Add(b[:124], text, size)
	f.Add(b[:124], text, size-1)
	f.Add(b[:80], text, size)
	b, size = head(MaxSlots)
	f.Add(b[:124], []byte("{}"), size)
	f.Fuzz(func(t *testing.T, fixed, text []byte, size int64) {
		b := make([]byte, PageSize+specSize)
		copy(b[:PageSize], fixed)
		copy(b[PageSize:], text)
		for _, sign := range []bool{false, true} {
			if sign { // past the checksums, as damage never gets but a forger does
				n := min(int(b[112])|int(b[113])<<8|int(b[114])<<16|int(b[115])<<24, specSize)
				seal(b, n)
			}
			l, spec, err := parse(b, size)
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("got %v, want ErrDamaged", err)
				}
				continue
			}
			if int64(l.total) != size || l.slots < 1 || l.slots > MaxSlots || l.frameBytes < 1 || l.stride < l.frameBytes ||
				l.slotsAt+l.slots*slotSize > l.lossesAt || l.lossesAt+l.losses*lossSize > l.ownersAt || l.ownersAt+ownerEntries*ownerSize > l.dataAt || l.dataAt+l.slots*l.stride > l.total {
				t.Errorf("layout %+v leads out of %d bytes", l, size)
			}
			if spec.ShardFrames == 0 || spec.Camera != l.camera || spec.Run != l.run {
				t.Errorf("description %+v", spec)
			}
		}
	})
}

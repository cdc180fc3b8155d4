package slab

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestStateOutlivesOwner: everything that is not in a slot is there after a restart.
func TestStateOutlivesOwner(t *testing.T) {
	s := mustCreate(t, 64, 3)
	before := s.Clock()
	if before.Wall == 0 || before.Began == 0 || before.Now() < before.Wall {
		t.Errorf("clock %+v", before)
	}
	for i := range tallies {
		s.SetTally(Tally(i), int64(i)+100)
	}
	s.AddTally(Skipped, 7)
	s.Account(frames.Durable, 3)
	s.Account(frames.HostLost, 4)
	s.AddReleased(1, 5)
	s.AddReleased(groupCount, 5)
	warnings := []string{"one", "α \"two\""}
	for i := range warnings {
		if err := s.SetWarnings(warnings[:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if by := s.EndedBy(); by != "" || s.Phase() != Capturing {
		t.Errorf("ended by %q in phase %d", by, s.Phase())
	}
	if err := s.End("of the world"); err == nil || s.Phase() != Capturing {
		t.Errorf("ended by nothing known: %v, phase %d", err, s.Phase())
	}
	if err := s.End(run.EndedCamera); err != nil {
		t.Fatal(err)
	}
	ended := s.Tally(CaptureEndNS)
	if err := s.End(run.EndedDeadline); err != nil || s.Tally(CaptureEndNS) != ended {
		t.Errorf("the capture ended twice: %v, at %d and %d", err, ended, s.Tally(CaptureEndNS))
	}
	kill(t, s)
	for range 2 {
		r := mustResume(t, s.Path())
		for i := range tallies {
			want := int64(i) + 100
			switch Tally(i) {
			case Skipped:
				want += 7
			case CaptureEndNS:
				want = ended
			}
			if got := r.Tally(Tally(i)); got != want {
				t.Errorf("tally %d is %d, want %d", i, got, want)
			}
		}
		if r.Accounted(frames.Durable) != 3 || r.Accounted(frames.HostLost) != 4 || r.Released(1) != 5 || r.Released(0) != 0 || r.Released(groupCount) != 0 {
			t.Errorf("durable %d, lost %d, released %d", r.Accounted(frames.Durable), r.Accounted(frames.HostLost), r.Released(1))
		}
		if r.Clock() != before || r.EndedBy() != run.EndedDeadline || r.Phase() != Draining || !slices.Equal(r.Warnings(), warnings) {
			t.Errorf("clock %+v, ended by %q, phase %d, warnings %q", r.Clock(), r.EndedBy(), r.Phase(), r.Warnings())
		}
		kill(t, r)
	}
}

// TestEveryEndingHasANumber: a word without one would not outlive acquire.
func TestEveryEndingHasANumber(t *testing.T) {
	s := mustCreate(t, 64, 1)
	for _, by := range []string{
		run.EndedFrames, run.EndedDuration, run.EndedSource, run.EndedStop, run.EndedFull, run.EndedCamera, run.EndedStalled, run.EndedDiskFull,
		run.EndedWriter, run.EndedHard, run.EndedDeadline, run.EndedInterrupted,
	} {
		if err := s.End(by); err != nil || s.EndedBy() != by {
			t.Errorf("%s: %v, %q", by, err, s.EndedBy())
		}
	}
}

// TestWarningsBeyondTheirRoom: the first ones are kept, and damaged ones are none.
func TestWarningsBeyondTheirRoom(t *testing.T) {
	s := mustCreate(t, 64, 1)
	long := slices.Repeat([]string{strings.Repeat("x", 1000)}, 10)
	if err := s.SetWarnings(long); err != nil || len(s.Warnings()) != 4 {
		t.Errorf("%d are kept, %v", len(s.Warnings()), err)
	}
	if err := s.SetWarnings([]string{"short"}); err != nil || !slices.Equal(s.Warnings(), []string{"short"}) {
		t.Errorf("%q, %v", s.Warnings(), err)
	}
	for i := range 2 {
		s.note(i)[noteTextAt+2]++
	}
	if w := s.Warnings(); w != nil {
		t.Errorf("damaged ones are %q", w)
	}
}

// TestDamagedState: whatever part of the newest copy is changed, the one before it is taken; with both changed the slab
// is refused by the next owner, and listed as damaged.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 64, 3)
	s.SetSealed(2)
	s.NextEpoch()
	s.NextEpoch()
	number := s.number
	path := s.Path()
	kill(t, s)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copies := []int{stateAt + int(number%2)*stateSize, stateAt + int((number+1)%2)*stateSize}
	spoil := func(t *testing.T, at ...int) {
		t.Helper()
		b := slices.Clone(whole)
		for _, i := range at {
			b[i] ^= 0x40
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	size := int(unsafe.Sizeof(copyOf{}))
	for i := 0; i < size; i += 3 {
		spoil(t, copies[0]+i)
		r := mustResume(t, path)
		if r.Epoch() != 1 || r.Sealed() != 2 || r.Session() != 2 {
			t.Errorf("byte %d: epoch %d, sealed %d, session %d", i, r.Epoch(), r.Sealed(), r.Session())
		}
		kill(t, r)
	}
	for i := 0; i < size; i += 7 {
		spoil(t, copies[0]+i, copies[1]+(i*7)%size)
		if _, err := Resume(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "checksums of its state") {
			t.Errorf("byte %d: %v, want ErrDamaged", i, err)
		}
	}
	list, err := List(dir)
	if err != nil || len(list) != 1 || !errors.Is(list[0].Err, ErrDamaged) || list[0].InUse {
		t.Errorf("listed as %+v, %v", list, err)
	}
}

// TestForgedState: numbers that no run has come to are refused even under a right checksum.
func TestForgedState(t *testing.T) {
	for name, change := range map[string]func(*state){
		"no phase":          func(s *state) { s[wPhase] = 0 },
		"a later phase":     func(s *state) { s[wPhase] = uint64(Armed) + 1 },
		"a huge phase":      func(s *state) { s[wPhase] = 1<<32 + 1 },
		"another ending":    func(s *state) { s[wEnded] = uint64(len(endings())) },
		"a billion shards":  func(s *state) { s[wCaptured] = 16 << 30 },
		"more than can be":  func(s *state) { s[wCaptured] = 1<<64 - 1 },
		"all but the phase": func(s *state) { *s = state{} },
	} {
		t.Run(name, func(t *testing.T) {
			s := mustCreate(t, 64, 3)
			s.update(change)
			kill(t, s)
			if _, err := Resume(s.Path()); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
		})
	}
}

// FuzzState: no bytes in the place of the state, or of the warnings, make a panic or a state that is no run's.
func FuzzState(f *testing.F) {
	mem := make([]byte, PageSize)
	s := state{wPhase: uint64(Capturing), wSession: 1, wCaptured: 40, wSealed: 2}
	s.publish(mem, 1)
	s[wCaptured]++
	s.publish(mem, 2)
	size := int(unsafe.Sizeof(copyOf{}))
	f.Add(mem[stateAt:stateAt+size], mem[stateAt+stateSize:stateAt+stateSize+size], []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00____[]"))
	f.Fuzz(func(t *testing.T, a, b, note []byte) {
		mem := make([]byte, PageSize)
		for i, c := range [][]byte{a, b} {
			copy(mem[stateAt+i*stateSize:stateAt+i*stateSize+size], c)
		}
		for _, sign := range []bool{false, true} {
			if sign {
				for i := range 2 {
					c := copyAt(mem, i)
					c.crc.Store(c.checksum())
				}
			}
			s, number, err := newestState(mem, 16)
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("got %v, want ErrDamaged", err)
				}
				continue
			}
			if number == 0 || s[wPhase] < uint64(Capturing) || s[wPhase] > uint64(Armed) || s[wEnded] >= uint64(len(endings())) {
				t.Errorf("change %d: %v", number, s)
			}
		}
		page := make([]byte, PageSize)
		copy(page, note)
		for _, sign := range []bool{false, true} {
			if n := binary.LittleEndian.Uint32(page[8:]); sign && n <= PageSize-noteTextAt {
				binary.LittleEndian.PutUint32(page[12:], noteCRC(page, int(n)))
			}
			parseNote(page)
		}
	})
}

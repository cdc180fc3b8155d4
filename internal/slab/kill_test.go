package slab

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// after is what a restarted acquire must find.
type after struct {
	captured uint64
	held     map[uint64]uint32 // holders by seq
	losses   []frames.Loss
	free     int
	frameID  uint64
	device   int64
	lastNS   int64
}

func find(t *testing.T, path string) after {
	t.Helper()
	s := mustResume(t, path)
	defer kill(t, s)
	got := after{captured: s.Captured(), held: map[uint64]uint32{}}
	_, got.lastNS, got.frameID, got.device = s.Last()
	s.Held(func(slot int, r Record) {
		got.held[r.Seq] = r.Holders
		if r.Checksum != header(r.Seq).Checksum {
			t.Errorf("frame %d has the checksum %d", r.Seq, r.Checksum)
		}
		if p := s.Pixels(slot); !bytes.Equal(p, slices.Repeat([]byte{byte(r.Seq)}, len(p))) {
			t.Errorf("frame %d has other pixels: %v…", r.Seq, p[:4])
		}
	})
	losses := s.Losses()
	for _, i := range slices.Sorted(maps.Keys(losses)) {
		got.losses = append(got.losses, losses[i])
	}
	slices.SortFunc(got.losses, func(a, b frames.Loss) int { return int(a.Seq) - int(b.Seq) })
	for {
		slot, ok := s.Take()
		if !ok {
			return got
		}
		if r, _ := s.Record(slot); r.Generation%2 == 0 || r.Holders != 0 {
			t.Errorf("slot %d is free with generation %d and holders %b", slot, r.Generation, r.Holders)
		}
		s.Discard(slot)
		got.free++
		if got.free > s.Slots() {
			t.Fatal("more slots are free than there are")
		}
		s.free = slices.DeleteFunc(s.free, func(i int) bool { return i == slot })
	}
}

func (a after) equal(b after) bool {
	return a.captured == b.captured && maps.Equal(a.held, b.held) && slices.Equal(a.losses, b.losses) &&
		a.free == b.free && a.frameID == b.frameID && a.device == b.device && a.lastNS == b.lastNS
}

// The way of a frame, killed after each step. The slab has 4 slots; frame 0 is in it and held by two groups.
func TestKillOnTheWayOfAFrame(t *testing.T) {
	before := after{captured: 1, held: map[uint64]uint32{0: 0b11}, free: 3, frameID: 100, device: 0, lastNS: 5}
	whole := after{captured: 2, held: map[uint64]uint32{0: 0b11, 1: 0b11}, free: 2, frameID: 101, device: 10, lastNS: 15}
	var slot int
	steps := []struct {
		name string
		do   func(*Slab)
		want after
	}{
		{"take", func(s *Slab) { slot = mustTake(t, s) }, before},
		{"half the pixels", func(s *Slab) { paint(s.Pixels(slot)[:32], 1) }, before},
		{"all pixels", func(s *Slab) { paint(s.Pixels(slot), 1) }, before},
		// The stores of Commit one by one.
		{"half the record", func(s *Slab) {
			r := slotAt(s.mem, s.layout, slot)
			r.seq, r.frameID = 1, 101
		}, before},
		{"record", func(s *Slab) {
			r := slotAt(s.mem, s.layout, slot)
			r.deviceNS, r.hostNS, r.pixelsCRC = 10, 15, 8
			r.crc = r.checksum()
		}, before},
		{"holders", func(s *Slab) { slotAt(s.mem, s.layout, slot).holders.Store(0b11) }, before},
		{"generation", func(s *Slab) { slotAt(s.mem, s.layout, slot).generation.Add(1) }, whole},
		// The state's other copy, in the middle of the change and after it.
		{"half the state", func(s *Slab) { copyAt(s.mem, int((s.number+1)%2)).words = state{wCaptured: 2, wEpoch: 77} }, whole},
		{"state", func(s *Slab) { s.newest(2, 101, 15, 15, 10) }, whole},
		{"one group lets go", func(s *Slab) { s.Let(slot, 1) }, after{captured: 2, held: map[uint64]uint32{0: 0b11, 1: 0b01}, free: 2, frameID: 101, device: 10, lastNS: 15}},
		{"the other too", func(s *Slab) { s.Let(slot, 0) }, after{captured: 2, held: map[uint64]uint32{0: 0b11}, free: 3, frameID: 101, device: 10, lastNS: 15}},
		{"free", func(s *Slab) { s.Free(slot) }, after{captured: 2, held: map[uint64]uint32{0: 0b11}, free: 3, frameID: 101, device: 10, lastNS: 15}},
	}
	for last := range steps {
		t.Run(steps[last].name, func(t *testing.T) {
			s := mustCreate(t, 64, 4)
			capture(t, s, 0, 0b11)
			for _, step := range steps[:last+1] {
				step.do(s)
			}
			kill(t, s)
			for n := range 2 { // to resume twice changes nothing
				if got := find(t, s.Path()); !got.equal(steps[last].want) {
					t.Errorf("resumed %d times: got %+v, want %+v", n+1, got, steps[last].want)
				}
			}
		})
	}
}

// A frame that no lossless group holds is nobody's after a restart.
func TestKillWithLatestFrame(t *testing.T) {
	s := mustCreate(t, 64, 2)
	capture(t, s, 0, 0)
	kill(t, s)
	want := after{captured: 1, held: map[uint64]uint32{}, free: 2, frameID: 100, lastNS: 5}
	if got := find(t, s.Path()); !got.equal(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The way of a loss, killed after each step.
func TestKillOnTheWayOfALoss(t *testing.T) {
	none := after{captured: 1, held: map[uint64]uint32{0: 1}, free: 1, frameID: 100, lastNS: 5}
	with := func(l frames.Loss) after {
		w := none
		w.captured, w.losses, w.frameID, w.lastNS = l.End(), []frames.Loss{l}, l.LastFrameID, l.LastNS
		return w
	}
	one, three := lossOf(1, 1), lossOf(1, 3)
	settled := with(three)
	settled.losses = nil
	put := func(s *Slab, i int, l frames.Loss, sound bool) {
		spare := make([]byte, minLosses*lossSize)
		table := newLosses(spare)
		if _, err := table.add(l, 0); err != nil {
			t.Fatal(err)
		}
		e := slices.Clone(table.entry(0))
		clear(e[:4])
		if !sound {
			e = e[:40]
		}
		copy(s.table.entry(i), e)
	}
	steps := []struct {
		name string
		do   func(*Slab)
		want after
	}{
		{"half an entry", func(s *Slab) { put(s, 0, one, false) }, none},
		{"an entry without its state", func(s *Slab) { put(s, 0, one, true) }, none},
		{"the entry", func(s *Slab) { s.table.state(0).Store(pendingLoss) }, with(one)},
		{"add", func(s *Slab) {
			s.table = newLosses(s.lossTable())
			s.newest(one.End(), one.LastFrameID, one.FirstNS, one.LastNS, 0)
		}, with(one)},
		{"half a grown one", func(s *Slab) { put(s, 1, three, false) }, with(one)},
		{"both", func(s *Slab) { put(s, 1, three, true); s.table.state(1).Store(pendingLoss) }, with(three)},
		{"grown", func(s *Slab) { s.table = newLosses(s.lossTable()); s.RemoveLoss(0) }, with(three)},
		{"captured", func(s *Slab) { s.newest(three.End(), three.LastFrameID, three.FirstNS, three.LastNS, 0) }, with(three)},
		{"settled", func(s *Slab) { s.RemoveLoss(1) }, settled},
	}
	for last := range steps {
		t.Run(steps[last].name, func(t *testing.T) {
			s := mustCreate(t, 64, 2)
			capture(t, s, 0, 1)
			for _, step := range steps[:last+1] {
				step.do(s)
			}
			kill(t, s)
			for n := range 2 {
				if got := find(t, s.Path()); !got.equal(steps[last].want) {
					t.Errorf("resumed %d times: got %+v, want %+v", n+1, got, steps[last].want)
				}
			}
		})
	}
}

// A slot or an entry that was damaged is not taken for a frame or a loss.
func TestResumeDropsWhatIsDamaged(t *testing.T) {
	s := mustCreate(t, 64, 3)
	slot, _ := capture(t, s, 0, 1)
	capture(t, s, 1, 1)
	i, err := s.AddLoss(lossOf(2, 5))
	if err != nil {
		t.Fatal(err)
	}
	slotAt(s.mem, s.layout, slot).seq = 77
	s.table.entry(i)[lossRecordAt]++
	kill(t, s)
	want := after{captured: 7, held: map[uint64]uint32{1: 1}, free: 2, frameID: 106, device: 10, lastNS: 65}
	if got := find(t, s.Path()); !got.equal(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestInUse(t *testing.T) {
	s := mustCreate(t, 64, 1)
	if _, err := Resume(s.Path()); !errors.Is(err, ErrInUse) {
		t.Errorf("a second owner: %v, want ErrInUse", err)
	}
	kill(t, s)
	second := mustResume(t, s.Path())
	if _, err := Resume(s.Path()); !errors.Is(err, ErrInUse) {
		t.Errorf("a third owner: %v, want ErrInUse", err)
	}
	if second.Session() != 2 {
		t.Errorf("session %d, want 2: a refused owner does not count", second.Session())
	}
	if err := second.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(s.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed slab: %v, want ErrNotExist", err)
	}
}

// An owner that waited for the lock of a slab that was then removed must not go on with it.
func TestResumeOfARemovedFile(t *testing.T) {
	s := mustCreate(t, 64, 1)
	f, err := openFile(s.Path(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	kill(t, s)
	if _, err := resume(f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

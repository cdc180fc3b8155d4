package slab

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	spec := testSpec(5000)
	s, err := Create(Config{Dir: dir, Spec: spec, Slots: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Slots() != 3 || s.Stride() != 8192 || s.Phase() != Capturing || s.Session() != 1 || s.Captured() != 0 {
		t.Errorf("slots %d, stride %d, phase %d, session %d, captured %d", s.Slots(), s.Stride(), s.Phase(), s.Session(), s.Captured())
	}
	info, err := os.Lstat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != int64(s.Bytes()) {
		t.Errorf("file has mode %s and %d bytes, want 0600 and %d", info.Mode(), info.Size(), s.Bytes())
	}
	for i := range 3 {
		slot := mustTake(t, s)
		if slot != i {
			t.Errorf("slot %d was given as number %d", slot, i)
		}
		p := s.Pixels(slot)
		if len(p) != 5000 || cap(p) != 8192 {
			t.Errorf("pixels of slot %d: len %d, cap %d; want 5000, 8192", slot, len(p), cap(p))
		}
	}
	if _, ok := s.Take(); ok {
		t.Error("a fourth of three slots was given")
	}
}

func TestCreateRefuses(t *testing.T) {
	big := testSpec(64)
	big.Meta = map[string]string{"notes": strings.Repeat("x", specSize)}
	noShards, badName, flat := testSpec(64), testSpec(64), testSpec(64)
	noShards.ShardFrames = 0
	badName.Camera = "../up"
	flat.Geometry.Height = 0
	for name, c := range map[string]struct {
		cfg  Config
		want error
		text string
	}{
		"no slots":         {Config{Spec: testSpec(64)}, nil, "0 slots"},
		"too many slots":   {Config{Spec: testSpec(64), Slots: MaxSlots + 1}, nil, "want 1 to 1048576"},
		"long description": {Config{Spec: big, Slots: 1}, ErrSpec, "there is room for 65536"},
		"no shards":        {Config{Spec: noShards, Slots: 1}, ErrSpec, "shards of 0 frames"},
		"camera's name":    {Config{Spec: badName, Slots: 1}, frames.ErrCamera, "../up"},
		"geometry":         {Config{Spec: flat, Slots: 1}, frames.ErrGeometry, "height 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Dir = t.TempDir()
			_, err := Create(c.cfg)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
			if left, _ := os.ReadDir(UserDir(c.cfg.Dir)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A description just below the limit survives.
func TestLargeSpec(t *testing.T) {
	spec := testSpec(64)
	spec.Meta = map[string]string{"notes": strings.Repeat("x", specSize-2000)}
	s, err := Create(Config{Dir: t.TempDir(), Spec: spec, Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	kill(t, s)
	if got := mustResume(t, s.Path()).Spec(); !reflect.DeepEqual(got, spec) {
		t.Error("the description has changed")
	}
}

func TestGenerations(t *testing.T) {
	s := mustCreate(t, 64, 1)
	for n := range uint64(3) {
		slot := mustTake(t, s)
		if r, _ := s.Record(slot); r.Generation != 2*n+1 {
			t.Errorf("generation %d while filling, want %d", r.Generation, 2*n+1)
		}
		r := s.Commit(slot, header(n), 1)
		if want := (Record{Seq: n, FrameID: n + 100, DeviceNS: int64(n) * 10, HostNS: int64(n)*10 + 5, Checksum: uint32(n) + 7, Generation: 2*n + 2, Holders: 1}); r != want {
			t.Errorf("got %+v, want %+v", r, want)
		}
		if left := s.Let(slot, 0); left != 0 {
			t.Errorf("holders %b left", left)
		}
		s.Free(slot)
	}
	slot := mustTake(t, s)
	s.Discard(slot)
	if r, _ := s.Record(slot); r.Generation != 8 {
		t.Errorf("generation %d after a discard, want 8", r.Generation)
	}
	if got := mustTake(t, s); got != slot {
		t.Errorf("a discarded slot is not free: got %d", got)
	}
}

func TestLet(t *testing.T) {
	s := mustCreate(t, 64, 2)
	slot, _ := capture(t, s, 0, 0b101)
	for _, c := range []struct {
		group int
		left  uint32
	}{{1, 0b101}, {2, 0b001}, {2, 0b001}, {0, 0}} {
		if left := s.Let(slot, c.group); left != c.left {
			t.Errorf("group %d let go: %b left, want %b", c.group, left, c.left)
		}
	}
}

func TestRecordRange(t *testing.T) {
	s := mustCreate(t, 64, 2)
	for _, slot := range []int{-1, 2, 1 << 40} {
		if _, err := s.Record(slot); !errors.Is(err, ErrRange) {
			t.Errorf("slot %d: %v, want ErrRange", slot, err)
		}
	}
}

func TestCounters(t *testing.T) {
	s := mustCreate(t, 64, 4)
	if s.NextEpoch() != 1 || s.NextEpoch() != 2 {
		t.Error("epochs do not count from 1")
	}
	s.SetSealed(5)
	s.SetSealed(3)
	if s.Sealed() != 5 {
		t.Errorf("sealed %d, want 5: it never falls", s.Sealed())
	}
	s.SetPhase(Draining)
	capture(t, s, 0, 1)
	kill(t, s)
	s = mustResume(t, s.Path())
	if s.NextEpoch() != 3 || s.Epoch() != 3 || s.Sealed() != 5 || s.Phase() != Draining || s.Session() != 2 {
		t.Errorf("after a restart: epoch %d, sealed %d, phase %d, session %d", s.Epoch(), s.Sealed(), s.Phase(), s.Session())
	}
}

// What is told of the newest frame is not changed by older ones that are given up.
func TestLast(t *testing.T) {
	s := mustCreate(t, 64, 4)
	type last struct {
		first, last int64
		id          uint64
		device      int64
		captured    uint64
	}
	want := func(w last) {
		t.Helper()
		var got last
		got.first, got.last, got.id, got.device = s.Last()
		got.captured = s.Captured()
		if got != w {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
	add := func(l frames.Loss) {
		t.Helper()
		if _, err := s.AddLoss(l); err != nil {
			t.Fatal(err)
		}
	}
	want(last{})
	add(lossOf(0, 2))
	want(last{5, 15, 101, 0, 2})
	capture(t, s, 2, 1)
	want(last{5, 25, 102, 20, 3})
	add(lossOf(3, 4))
	want(last{5, 65, 106, 20, 7})
	late := lossOf(2, 1)
	late.LastNS = 1 << 40
	add(late)
	want(last{5, 65, 106, 20, 7})
}

func TestView(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 5000, 4)
	v, err := Open(dir, s.Path(), s.Spec().Run)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if !reflect.DeepEqual(v.Spec(), s.Spec()) {
		t.Errorf("got %+v, want %+v", v.Spec(), s.Spec())
	}
	slot, r := capture(t, s, 7, 1)
	o := r.Offer(slot, 3)
	f, err := frameOf(v, o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Pixels()
	if err != nil || !bytes.Equal(p, slices.Repeat([]byte{7}, 5000)) || cap(p) != 8192 {
		t.Errorf("pixels %v… (%d of %d), %v", p[:4], len(p), cap(p), err)
	}
	if h := (frames.Header{Run: s.Spec().Run, Seq: 7, FrameID: 107, DeviceNS: 70, HostNS: 75, Checksum: 14, Geometry: s.Spec().Geometry}); f.Header != h {
		t.Errorf("got %+v, want %+v", f.Header, h)
	}
	if err := f.Intact(); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change func(*frames.Offer)
		want   error
	}{
		"slot beyond":      {func(o *frames.Offer) { o.Slot = 4 }, ErrRange},
		"slot far beyond":  {func(o *frames.Offer) { o.Slot = 1<<32 - 1 }, ErrRange},
		"empty slot":       {func(o *frames.Offer) { o.Slot = 2 }, ErrStale},
		"odd generation":   {func(o *frames.Offer) { o.Generation = 1 }, ErrStale},
		"later generation": {func(o *frames.Offer) { o.Generation += 2 }, ErrStale},
		"other frame":      {func(o *frames.Offer) { o.Seq = 8 }, ErrStale},
		"other frame id":   {func(o *frames.Offer) { o.FrameID++ }, ErrStale},
		"other time":       {func(o *frames.Offer) { o.DeviceNS++ }, ErrStale},
		"other checksum":   {func(o *frames.Offer) { o.Checksum++ }, ErrStale},
	} {
		bad := o
		c.change(&bad)
		if _, err := frameOf(v, bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}

	s.Let(slot, 0)
	s.Free(slot)
	if err := f.Intact(); err != nil {
		t.Errorf("a free slot's frame is whole until another is written: %v", err)
	}
	if got := mustTake(t, s); got != slot {
		t.Fatalf("got slot %d, want %d", got, slot)
	}
	if err := f.Intact(); !errors.Is(err, frames.ErrReclaimed) {
		t.Errorf("while another frame is written: %v, want ErrReclaimed", err)
	}
	bad := o
	bad.Generation++ // as the slot has it now
	if _, err := frameOf(v, bad); !errors.Is(err, ErrStale) {
		t.Errorf("a frame that is being written: %v, want ErrStale", err)
	}
	s.Commit(slot, header(8), 1)
	if _, err := frameOf(v, o); !errors.Is(err, ErrStale) {
		t.Errorf("an offer of the frame before: %v, want ErrStale", err)
	}
}

// A view outlives the file's name and the slab's process: the mapping is its own.
func TestViewOutlivesSlab(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 64, 1)
	slot, r := capture(t, s, 9, 1)
	v, err := Open(dir, s.Path(), s.Spec().Run)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := frameOf(v, r.Offer(slot, 0))
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := f.Pixels(); !bytes.Equal(p, slices.Repeat([]byte{9}, 64)) {
		t.Errorf("pixels %v", p)
	}
}

// TestCutFile: a file that is cut short under a reader is an error of the frames in it, not the reader's end.
func TestCutFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Create(Config{Dir: dir, Spec: testSpec(5000), Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := frames.Header{Seq: 0, FrameID: 7}
	offer := s.Commit(mustTake(t, s), h, 1).Offer(0, 1)
	v, err := Open(dir, s.Path(), s.Spec().Run)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	f, err := frameOf(v, offer)
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := f.Pixels()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	read := func() {
		for _, b := range pixels {
			sum += int(b)
		}
	}
	if err := errors.Join(frames.Guard(pixels, read), f.Intact()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.Path(), int64(v.dataAt)); err != nil {
		t.Fatal(err)
	}
	if err := frames.Guard(pixels, read); !errors.Is(err, frames.ErrFault) {
		t.Errorf("pixels that are gone: %v", err)
	}
	if err := f.Intact(); err != nil {
		t.Errorf("its record is there: %v", err)
	}
	if err := os.Truncate(s.Path(), PageSize); err != nil {
		t.Fatal(err)
	}
	if err := f.Intact(); !errors.Is(err, frames.ErrReclaimed) {
		t.Errorf("a frame whose record is gone: %v", err)
	}
	if _, err := frameOf(v, offer); !errors.Is(err, frames.ErrFault) {
		t.Errorf("an offer whose record is gone: %v", err)
	}
	bad := offer
	bad.Slot = 99
	var errs []error
	v.Frames([]frames.Offer{offer, bad, offer}, func(_ frames.Offer, _ *frames.Frame, err error) { errs = append(errs, err) })
	if len(errs) != 3 || !errors.Is(errs[0], frames.ErrFault) || !errors.Is(errs[1], ErrRange) || !errors.Is(errs[2], frames.ErrFault) {
		t.Errorf("each offer of a batch has its own error: %v", errs)
	}
	if _, err := Open(dir, s.Path(), s.Spec().Run); !errors.Is(err, ErrDamaged) {
		t.Errorf("what is left of the slab: %v", err)
	}
}

// frameOf is the frame of one offer.
func frameOf(v *View, o frames.Offer) (f *frames.Frame, err error) {
	v.Frames([]frames.Offer{o}, func(_ frames.Offer, got *frames.Frame, e error) { f, err = got, e })
	return f, err
}

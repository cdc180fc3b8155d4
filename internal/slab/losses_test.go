package slab

import (
	"errors"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestLosses(t *testing.T) {
	s := mustCreate(t, 64, 1)
	want := map[int]frames.Loss{}
	add := func(l frames.Loss) int {
		t.Helper()
		i, err := s.AddLoss(l)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = l
		return i
	}
	a, b := add(lossOf(0, 3)), add(lossOf(3, 1))
	grown := lossOf(3, 4)
	c, err := s.ReplaceLoss(b, grown)
	if err != nil {
		t.Fatal(err)
	}
	delete(want, b)
	want[c] = grown
	add(lossOf(7, 2))
	if got := s.Losses(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.RemoveLoss(a)
	s.RemoveLoss(a)
	s.RemoveLoss(-1)
	s.RemoveLoss((minLosses + 1))
	delete(want, a)
	if got := s.Losses(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Captured() != 9 {
		t.Errorf("captured %d, want 9", s.Captured())
	}
	if _, err := s.AddLoss(frames.Loss{Seq: 9}); !errors.Is(err, frames.ErrWire) {
		t.Errorf("a range of no frames: %v, want ErrWire", err)
	}
}

// TestLossTableFull: one entry is never given to a new range, so that there is always room to replace one.
func TestLossTableFull(t *testing.T) {
	s := mustCreate(t, 64, 1)
	const most = uint64(minLosses) // and one for each slot, less the spare one
	for i := range most {
		if _, err := s.AddLoss(lossOf(2*i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if room, size := s.LossRoom(); room != 0 || size != minLosses {
		t.Errorf("room for %d of %d", room, size)
	}
	if _, err := s.AddLoss(lossOf(2*most, 1)); !errors.Is(err, ErrLossTable) {
		t.Fatalf("got %v, want ErrLossTable", err)
	}
	if s.Captured() != 2*most-1 {
		t.Errorf("captured %d, want %d: a refused loss does not count", s.Captured(), 2*most-1)
	}
	i, err := s.ReplaceLoss(17, lossOf(34, 2))
	if err != nil || s.Losses()[i] != lossOf(34, 2) || len(s.Losses()) != int(most) {
		t.Errorf("got entry %d and %v", i, err)
	}
	s.RemoveLoss(i)
	s.RemoveLoss(i)
	if j, err := s.AddLoss(lossOf(2*most, 1)); err != nil || j != i {
		t.Errorf("got entry %d and %v, want %d", j, err, i)
	}
	if _, err := s.AddLoss(lossOf(2*most+2, 1)); !errors.Is(err, ErrLossTable) {
		t.Errorf("an entry that was removed twice is given twice: %v", err)
	}
}

// A random history of changes, with a kill after each, agrees with a map.
func TestLossesModel(t *testing.T) {
	s := mustCreate(t, 64, 1)
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[int]frames.Loss{}
	var next uint64
	for range 300 {
		var some int
		for some = range want {
			break
		}
		switch n := 1 + rnd.Uint64N(5); {
		case len(want) == 0 || rnd.IntN(3) == 0:
			i, err := s.AddLoss(lossOf(next, n))
			if err != nil {
				t.Fatal(err)
			}
			want[i] = lossOf(next, n)
			next += n + 1
		case rnd.IntN(2) == 0 && want[some].End()+1 == next:
			grown := lossOf(want[some].Seq, want[some].Count+n)
			i, err := s.ReplaceLoss(some, grown)
			if err != nil {
				t.Fatal(err)
			}
			delete(want, some)
			want[i] = grown
			next = grown.End() + 1
		default:
			s.RemoveLoss(some)
			delete(want, some)
		}
		kill(t, s)
		s = mustResume(t, s.Path())
		if got := s.Losses(); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if next > 0 && s.Captured() != next-1 {
			t.Fatalf("captured %d, want %d", s.Captured(), next-1)
		}
	}
}

package clock

import (
	"testing"
	"time"
)

// TestWallClockCountsOnce: a run whose wall clock has since been set back by a day, or forward by an hour, goes on in
// its own time, in this process and for one that comes to it later.
func TestWallClockCountsOnce(t *testing.T) {
	for _, jump := range []time.Duration{-24 * time.Hour, time.Hour, 0} {
		r := New()
		r.Wall -= int64(jump) // as if the clock had jumped right after
		want := time.Now().Add(-jump).UnixNano()
		stamper := r.Stamper()
		for what, got := range map[string]int64{"the run's": r.Now(), "the process's": stamper.Now()} {
			if off := time.Duration(got - want).Abs(); off > time.Minute {
				t.Errorf("after a jump of %v %s time is off by %v", jump, what, off)
			}
		}
	}
}

// TestStampsAreInOrder: the stamps of times that follow each other do so by as much.
func TestStampsAreInOrder(t *testing.T) {
	s := New().Stamper()
	now := time.Now()
	last := s.At(now)
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Microsecond)
		if got := s.At(at); got < last || got-s.At(now) != int64(i)*1000 {
			t.Fatalf("%v is stamped %d after %d", at, got, last)
		}
		last = s.At(at)
	}
}

// TestMonotonic: every process and every clock of a run has the same time.
func TestMonotonic(t *testing.T) {
	a := Monotonic()
	r := New()
	b := r.Stamper().Now()
	if c := Monotonic(); a <= 0 || r.Began < a || c < r.Began || b < r.Wall || r.Now() < r.Wall+c-r.Began {
		t.Errorf("%d, %+v, %d, %d", a, r, b, c)
	}
}

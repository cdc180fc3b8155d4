package pairs_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/pairs"
)

func TestMediansOfPairs(t *testing.T) {
	var now time.Duration
	m := pairs.Meter{Clock: func() time.Duration { return now }}
	if r := m.Result(); r != (pairs.Result{}) {
		t.Errorf("nothing measured: %+v", r)
	}
	var order []string
	for _, p := range []struct{ a, b time.Duration }{{10, 20}, {30, 10}, {6, 8}, {100, 100}} {
		m.Pair(func() { now += p.a; order = append(order, "a") }, func() { now += p.b; order = append(order, "b") })
	}
	// The ratios are 0.5, 3, 0.75 and 1.
	if r, want := m.Result(), (pairs.Result{Ratio: 0.875, A: 20, B: 15, Pairs: 4}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if want := []string{"a", "b", "b", "a", "a", "b", "b", "a"}; !slices.Equal(order, want) {
		t.Errorf("in the order %v, want %v", order, want)
	}
}

func TestClocks(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sum := 0
	work := func() {
		for i := range 1_000_000 {
			sum += i * sum
		}
	}
	for name, m := range map[string]*pairs.Meter{"wall": {}, "thread": {Clock: pairs.ThreadTime}} {
		m.Pair(work, work)
		if r := m.Result(); r.A <= 0 || r.B <= 0 || r.Ratio <= 0 || r.Pairs != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

package pairs_test

import (
	"context"
	"errors"
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
	for _, p := range []struct{ a, b int }{{10, 20}, {30, 10}, {6, 8}, {100, 100}} {
		m.Pair(func() { now += time.Duration(p.a) * time.Second; order = append(order, "a") }, func() { now += time.Duration(p.b) * time.Second; order = append(order, "b") })
	}
	// The ratios are 0.5, 3, 0.75 and 1.
	if r, want := m.Result(), (pairs.Result{Ratio: 0.875, A: 20, B: 15, Low: 0.5, High: 3, Pairs: 4}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if want := []string{"a", "b", "b", "a", "a", "b", "b", "a"}; !slices.Equal(order, want) {
		t.Errorf("in the order %v, want %v", order, want)
	}
}

// TestMeasure: a pair counts when both sides have their figures, and the order goes on from there.
func TestMeasure(t *testing.T) {
	var m pairs.Meter
	broken := errors.New("broken")
	var order string
	side := func(name string, v float64, err error) pairs.Side {
		return func(context.Context) (float64, error) {
			order += name
			return v, err
		}
	}
	for _, err := range []error{nil, broken, nil} {
		if got := m.Measure(t.Context(), side("a", 3, nil), side("b", 4, err)); !errors.Is(got, err) {
			t.Errorf("%v, want %v", got, err)
		}
	}
	if r, want := m.Result(), (pairs.Result{Ratio: 0.75, A: 3, B: 4, Low: 0.75, High: 0.75, Pairs: 2}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if order != "abbba" {
		t.Errorf("in the order %s", order)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := pairs.Median(c.v); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.v, got, c.want)
		}
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

// TestInterval holds it against the tables of the sign test: the ranks for 95 % (Conover, table A3; David and Nagaraja 7.1).
func TestInterval(t *testing.T) {
	for _, c := range []struct{ n, k int }{{1, 1}, {2, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 2}, {11, 2}, {12, 3}, {15, 4}, {20, 6}, {25, 8}, {30, 10}, {1000, 469}, {10000, 4902}} {
		xs := make([]float64, c.n)
		for i := range xs {
			xs[i] = float64(c.n - i)
		}
		if low, high := pairs.Interval(xs); low != float64(c.k) || high != float64(c.n+1-c.k) {
			t.Errorf("of 1 to %d: %v to %v, want %d to %d", c.n, low, high, c.k, c.n+1-c.k)
		}
	}
	if low, high := pairs.Interval(nil); low != 0 || high != 0 {
		t.Errorf("of none: %v to %v", low, high)
	}
}

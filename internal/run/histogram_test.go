package run_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
)

// TestHistogram: each time is in the first bucket whose bound it does not exceed.
func TestHistogram(t *testing.T) {
	var h run.Histogram
	if h.Clone() != nil {
		t.Error("an empty one is not nil")
	}
	want := make([]uint64, run.Bounds()+1)
	var sum int64
	for i := range run.Bounds() {
		for _, d := range []time.Duration{run.Bound(i), run.Bound(i) + 1} {
			h.Add(d)
			sum += int64(d)
		}
		want[i]++
		want[i+1]++
	}
	h.Add(0)
	h.Add(-5) // a clock that was read out of order
	h.Add(1)
	h.Add(time.Hour)
	want[0] += 3
	want[run.Bounds()]++
	sum += 1 + int64(time.Hour)
	c := h.Clone()
	if !slices.Equal(c.Counts, want) || c.SumNS != sum {
		t.Errorf("%v, %d\nwant %v, %d", c.Counts, c.SumNS, want, sum)
	}
	h.Add(0)
	if c.Counts[0] != want[0] {
		t.Error("the copy changes with the original")
	}
}

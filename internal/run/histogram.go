package run

import (
	"math/bits"
	"slices"
	"time"
)

// The bounds of a Histogram are powers of two of a nanosecond, from 16 µs to 137 s, so that a value costs an addition.
const (
	firstBound = 14
	bounds     = 24
)

// Histogram counts times since a process was started. It is a message's field: its form is a published contract. The
// zero value is empty. It is not safe for concurrent use.
type Histogram struct {
	// Counts has at i how many times were at most Bound(i) and more than the bound before, and at the end those beyond
	// all bounds. It is nil where there are none.
	Counts []uint64 `json:"counts"`
	SumNS  int64    `json:"sum_ns,string"`
}

// Bound is the upper bound of Counts[i], itself included.
func Bound(i int) time.Duration { return 1 << (firstBound + i) }

// Bounds is how many bounds there are.
func Bounds() int { return bounds }

// Add counts a time.
func (h *Histogram) Add(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]uint64, bounds+1)
	}
	n := max(int64(d), 0)
	h.Counts[min(max(bits.Len64(uint64(max(n-1, 0)))-firstBound, 0), bounds)]++
	h.SumNS += n
}

// Clone returns a copy, nil where nothing was counted.
func (h *Histogram) Clone() *Histogram {
	if h.Counts == nil {
		return nil
	}
	return &Histogram{Counts: slices.Clone(h.Counts), SumNS: h.SumNS}
}

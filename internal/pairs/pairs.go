// Package pairs compares two speeds on a machine that is not one's own: both are measured in turn, and what
// counts is the median of the pairs' ratios, which what else the machine does changes little.
package pairs

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Meter collects pairs. The zero value measures by the clock on the wall.
type Meter struct {
	// Clock is the time, from any moment on.
	Clock func() time.Duration

	ratios []float64
	a, b   []time.Duration
}

// Result is the medians: of the ratios a/b, and of the times.
type Result struct {
	Ratio float64
	A, B  time.Duration
	Pairs int
}

// Pair runs a and b, the next time b and a: what one leaves in the caches favours neither.
func (m *Meter) Pair(a, b func()) {
	var ta, tb time.Duration
	if len(m.ratios)%2 == 0 {
		ta = m.time(a)
		tb = m.time(b)
	} else {
		tb = m.time(b)
		ta = m.time(a)
	}
	m.a, m.b = append(m.a, ta), append(m.b, tb)
	m.ratios = append(m.ratios, float64(ta)/float64(tb))
}

func (m *Meter) time(f func()) time.Duration {
	clock := m.Clock
	if clock == nil {
		start := time.Now()
		clock = func() time.Duration { return time.Since(start) }
	}
	start := clock()
	f()
	return clock() - start
}

// Result is what the pairs so far give; without any it is zero.
func (m *Meter) Result() Result {
	if len(m.ratios) == 0 {
		return Result{}
	}
	return Result{Ratio: median(m.ratios), A: median(m.a), B: median(m.b), Pairs: len(m.ratios)}
}

func median[T float64 | time.Duration](xs []T) T {
	xs = slices.Sorted(slices.Values(xs))
	middle := len(xs) / 2
	if len(xs)%2 == 1 {
		return xs[middle]
	}
	return (xs[middle-1] + xs[middle]) / 2
}

// ThreadTime is the time that the processor has worked for the calling thread, a [Meter]'s Clock for work that
// waits for nothing: it does not count when others have the processor. The caller locks itself to its thread.
func ThreadTime() time.Duration {
	var t unix.Timespec
	// This clock is always there.
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

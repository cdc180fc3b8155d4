// Package pairs compares two speeds on a machine that is not one's own: both are measured in turn, and what
// counts is the median of the pairs' ratios, which what else the machine does changes little.
package pairs

import (
	"context"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Meter collects pairs of figures. The zero value measures times by the clock on the wall.
type Meter struct {
	// Clock is the time that Pair measures by, from any moment on.
	Clock func() time.Duration

	ratios, a, b []float64
}

// Result is the medians: of the ratios a/b, and of the figures, which Pair takes in seconds.
type Result struct {
	Ratio, A, B float64
	// Low and High are the [Interval] of the ratios.
	Low, High float64
	Pairs     int
}

// Side is one half of a pair: it works and returns its figure.
type Side func(ctx context.Context) (float64, error)

// Measure takes the figures of a and b, the next time of b and a: what one leaves behind favours neither. A pair that an
// error interrupts does not count.
func (m *Meter) Measure(ctx context.Context, a, b Side) error {
	sides, v := [2]Side{a, b}, [2]float64{}
	for i := range sides {
		side := (len(m.ratios) + i) % 2
		var err error
		if v[side], err = sides[side](ctx); err != nil {
			return err
		}
	}
	m.a, m.b, m.ratios = append(m.a, v[0]), append(m.b, v[1]), append(m.ratios, v[0]/v[1])
	return nil
}

// Pair takes the times of a and b, in the same way.
func (m *Meter) Pair(a, b func()) {
	timed := func(f func()) Side {
		return func(context.Context) (float64, error) { return m.time(f).Seconds(), nil }
	}
	_ = m.Measure(context.Background(), timed(a), timed(b)) // neither side has errors
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
	low, high := Interval(m.ratios)
	return Result{Ratio: Median(m.ratios), A: Median(m.a), B: Median(m.b), Low: low, High: high, Pairs: len(m.ratios)}
}

// Median is the middle value, of an even number of them the mean of the two, of none 0.
func Median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	if len(xs) == 0 {
		return 0
	}
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// Interval is where the median lies of all that could have been drawn, in 95 of 100 cases or more, whatever the
// distribution: between the k-th least and the k-th largest value, with the largest k for which a fair coin gives so few
// heads seldom enough (the sign test; Conover, Practical Nonparametric Statistics, 3.2). Fewer than six values can't tell
// that much: it is the least and the largest of them then, and of none 0.
func Interval(xs []float64) (low, high float64) {
	n := len(xs)
	if n == 0 {
		return 0, 0
	}
	k := 1
	// outside is the chance that the median is beyond either bound; as logarithms no number of pairs is too large.
	for outside := 2 * heads(n, 0); ; k++ {
		if outside += 2 * heads(n, k); outside > 0.05 {
			break
		}
	}
	xs = slices.Sorted(slices.Values(xs))
	return xs[k-1], xs[n-k]
}

// heads is the chance of k heads in n throws of a fair coin.
func heads(n, k int) float64 {
	lg := func(i int) float64 { v, _ := math.Lgamma(float64(i + 1)); return v } // ln i!
	return math.Exp(lg(n) - lg(k) - lg(n-k) - float64(n)*math.Ln2)
}

// ThreadTime is the time that the processor has worked for the calling thread, a [Meter]'s Clock for work that
// waits for nothing: it does not count when others have the processor. The caller locks itself to its thread.
func ThreadTime() time.Duration {
	var t unix.Timespec
	// This clock is always there.
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

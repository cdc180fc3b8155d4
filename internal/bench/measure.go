package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Measure is one figure beside its limit.
type Measure struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Achieved float64 `json:"achieved"` // median of the pairs
	Limit    float64 `json:"limit"`    // median of the pairs
	Ratio    float64 `json:"ratio"`    // median of the pairs' own ratios
	LimitIs  string  `json:"limit_is"` // what the limit measures
	Pairs    int     `json:"pairs"`
	// Frames is the achieved figure in frames a second, 0 where it makes no sense.
	Frames float64 `json:"frames_per_second,omitempty"`
	// Latency is from a frame's capture to its release.
	Latency *Latency `json:"latency,omitempty"`
	// CPU is what all processes of the measurement together used, in seconds for each GB (10⁹ bytes) of pixels.
	CPU float64 `json:"cpu_seconds_per_gb,omitempty"`
	// Stored is the part of the pixels' size that a codec leaves, 0 where nothing is compressed.
	Stored float64 `json:"stored,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// Latency has quantiles in nanoseconds.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// latency summarises times, which it sorts.
func latency(times []time.Duration) *Latency {
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[min(len(times)-1, int(q*float64(len(times))))] }
	return &Latency{P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: times[len(times)-1]}
}

// rate is one side of a pair: it works and returns how much it did a second.
type rate func(ctx context.Context) (float64, error)

// interleave measures n pairs, the one that begins changing from pair to pair, and fills in what comes of them.
func (m *Measure) interleave(ctx context.Context, n int, achieved, limit rate) error {
	var got, most, ratios []float64
	for i := range n {
		sides := []rate{achieved, limit}
		var v [2]float64
		for j := range sides {
			side := (i + j) % 2
			var err error
			if v[side], err = sides[side](ctx); err != nil {
				return fmt.Errorf("measuring %s: %w", m.Name, err)
			}
		}
		got, most, ratios = append(got, v[0]), append(most, v[1]), append(ratios, v[0]/v[1])
	}
	m.Achieved, m.Limit, m.Ratio, m.Pairs = median(got), median(most), median(ratios), n
	return nil
}

// median is the middle value, of an even number the mean of the two.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// perSecond is n in the time since start.
func perSecond(n float64, start time.Time) float64 { return n / time.Since(start).Seconds() }

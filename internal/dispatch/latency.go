package dispatch

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
)

// The histogram of latencies holds times from a microsecond to ten minutes to two digits, in about 30 KB. What is beyond
// its end counts as its end.
const (
	shortestLatency = int64(time.Microsecond)
	longestLatency  = int64(10 * time.Minute)
	latencyDigits   = 2
)

// latencies counts how long frames took from their capture to their last lossless release. The dispatcher's mutex guards
// it.
type latencies struct{ h *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{hdrhistogram.New(shortestLatency, longestLatency, latencyDigits)}
}

// add counts a frame that was let go at now, on the run's clock.
func (l latencies) add(rec slab.Record, now int64) {
	// The value is within the histogram's bounds, which is all that it could complain about.
	_ = l.h.RecordValue(min(max(now-rec.HostNS, shortestLatency), longestLatency))
}

// Latency says how long the run's frames took from capture to release, since this process took the run up; nil where none
// was released yet, or there is no run.
func (d *Dispatcher) Latency() *run.Latency {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil || d.run.latency.h.TotalCount() == 0 {
		return nil
	}
	h := d.run.latency.h
	return &run.Latency{
		Frames: uint64(h.TotalCount()), P50NS: h.ValueAtQuantile(50), P99NS: h.ValueAtQuantile(99), P999NS: h.ValueAtQuantile(99.9),
		MaxNS: h.Max(),
	}
}

// Times counts how long frames took from capture to release, of all runs since this process was started; nil where none
// was released yet.
func (d *Dispatcher) Times() *run.Histogram {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.times.Clone()
}

// ForgetLatency has Latency begin anew: who measures wants none of what was before.
func (d *Dispatcher) ForgetLatency() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run != nil {
		d.run.latency.h.Reset()
	}
}

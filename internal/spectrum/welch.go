package spectrum

import (
	"math"
	"slices"
)

const (
	// gapFactor: an interval between two frames that is longer than this many of the segment's median
	// intervals is a hole.
	gapFactor = 1.5
	// unevenJitter is the jitter from which on a series is called uneven.
	unevenJitter = 0.1
)

// welch accumulates the periodograms of segments of one length.
type welch struct {
	values  int
	plan    Plan1D
	window  []float64
	energy  float64 // Σw²
	scratch []float64
	coeff   []complex128
	steps   []int64

	acc   []float64 // per value the sums of |X|², n/2+1 of them
	means []float64 // per value the sum of the segments' means

	segments         int
	spanNS           int64 // Σ of the segments' durations, first to last stamp
	intervals        int64
	deviation        float64 // Σ (interval − the segment's mean interval)², ns²
	firstSeq, endSeq uint64
	firstNS, lastNS  int64
}

func newWelch(n, values int) (*welch, error) {
	plan, err := NewPlan1D(n)
	if err != nil {
		return nil, err
	}
	w := &welch{
		values:  values,
		plan:    plan,
		window:  WindowHann.weights(n),
		scratch: make([]float64, n),
		coeff:   make([]complex128, n/2+1),
		steps:   make([]int64, n-1),
		acc:     make([]float64, values*(n/2+1)),
		means:   make([]float64, values),
	}
	_, w.energy = sums(w.window)
	return w, nil
}

func (w *welch) reset() {
	clear(w.acc)
	clear(w.means)
	w.segments, w.spanNS, w.intervals, w.deviation = 0, 0, 0, 0
	w.firstSeq, w.endSeq, w.firstNS, w.lastNS = 0, 0, 0, 0
}

// add takes the segment of the series that begins at seq, whose samples are all there. It reports false,
// and takes nothing, when the timestamps show a hole.
func (w *welch) add(s *Series, seq uint64) bool {
	n := w.plan.Len()
	median, even := w.intervalsOf(s, seq)
	if !even {
		return false
	}
	first, last := s.deviceNS[s.slot(seq)], s.deviceNS[s.slot(seq+uint64(n)-1)]
	mean := float64(last-first) / float64(n-1)
	if median <= 0 || mean <= 0 {
		return false
	}
	for _, d := range w.steps {
		w.deviation += (float64(d) - mean) * (float64(d) - mean)
	}
	for v := range w.values {
		w.periodogram(s, v, seq)
	}
	if w.segments == 0 || seq < w.firstSeq {
		w.firstSeq, w.firstNS = seq, first
	}
	if end := seq + uint64(n); end > w.endSeq {
		w.endSeq, w.lastNS = end, last
	}
	w.segments++
	w.spanNS += last - first
	w.intervals += int64(n - 1)
	return true
}

// intervalsOf computes the intervals between a segment's frames and their median, and whether none of them
// is a hole.
func (w *welch) intervalsOf(s *Series, seq uint64) (median int64, even bool) {
	for i := range w.steps {
		at := seq + uint64(i)
		w.steps[i] = s.deviceNS[s.slot(at+1)] - s.deviceNS[s.slot(at)]
	}
	slices.Sort(w.steps)
	median = w.steps[len(w.steps)/2]
	return median, w.steps[0] > 0 && float64(w.steps[len(w.steps)-1]) <= gapFactor*float64(median)
}

// periodogram adds one value's |X|² of a segment, its mean taken off first (scipy's detrend='constant').
func (w *welch) periodogram(s *Series, value int, seq uint64) {
	n := w.plan.Len()
	series := s.means[value*s.capacity : (value+1)*s.capacity]
	head := copy(w.scratch, series[s.slot(seq):])
	copy(w.scratch[head:], series)
	sum := 0.0
	for _, x := range w.scratch {
		sum += x
	}
	mean := sum / float64(n)
	w.means[value] += mean
	for i, x := range w.scratch {
		w.scratch[i] = (x - mean) * w.window[i]
	}
	// The plan was made for these buffers: it has nothing to refuse.
	_ = w.plan.Forward(w.coeff, w.scratch)
	acc := w.acc[value*len(w.coeff) : (value+1)*len(w.coeff)]
	for k, c := range w.coeff {
		acc[k] += real(c)*real(c) + imag(c)*imag(c)
	}
}

// result is the spectrum of the segments taken so far.
func (w *welch) result() *TemporalSpectrum {
	r := &TemporalSpectrum{
		SegmentFrames: w.plan.Len(), Segments: w.segments,
		FirstSeq: w.firstSeq, EndSeq: w.endSeq, FirstNS: w.firstNS, LastNS: w.lastNS,
	}
	if w.segments == 0 {
		return r
	}
	n := w.plan.Len()
	period := float64(w.spanNS) / float64(w.intervals) // ns
	r.RateHz = 1e9 / period
	r.BinHz = r.RateHz / float64(n)
	r.Jitter = math.Sqrt(w.deviation/float64(w.intervals)) / period
	r.Uneven = r.Jitter > unevenJitter
	r.Series = make([]SeriesSpectrum, w.values)
	scale := 1 / (r.RateHz * w.energy * float64(w.segments))
	for v := range r.Series {
		psd := make([]float64, n/2+1)
		for k := range psd {
			psd[k] = w.acc[v*len(psd)+k] * scale
			if k > 0 && 2*k != n {
				psd[k] *= 2
			}
		}
		mean := w.means[v] / float64(w.segments)
		r.Series[v] = SeriesSpectrum{Mean: mean, PSD: psd, Dominant: findTone(psd, r.BinHz, mean)}
	}
	return r
}

func (w *welch) bytes() int64 {
	return w.plan.Bytes() + sizeOf(w.window) + sizeOf(w.scratch) + sizeOf(w.coeff) + sizeOf(w.steps) +
		sizeOf(w.acc) + sizeOf(w.means)
}

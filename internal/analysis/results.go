package analysis

import (
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// results are the spatial spectra on their way to be published: one in an interval, with what the others in it give
// together. All methods may be called concurrently.
type results struct {
	mu       sync.Mutex // guards what follows
	n        uint64     // published
	next     time.Time  // none before
	interval interval
	last     *transformer // whose result is the newest, of frame header
	header   frames.Header
	coverage SpatialCoverage
}

// interval sums up the spectra since the last one that was published.
type interval struct {
	count      uint64
	first, end uint64 // seq
	power      []float64
	sum        float64 // of the sharpnesses
	least      float64
	most       float64
	sharpest   uint64 // seq
}

// due says whether it is time for a spectrum.
func (r *results) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.next)
}

// plan has no spectrum be published before a time.
func (r *results) plan(next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
}

// add takes a worker's result. It publishes it where it is time to, or where no other is made in the interval.
func (r *results) add(i *imager, t *transformer, j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.header, r.coverage = t, j.header, j.coverage
	if !i.cfg.All {
		r.publish(i)
		return
	}
	r.interval.add(t, r.header.Seq)
	if now := time.Now(); !now.Before(r.next) {
		r.next = now.Add(i.cfg.Every)
		r.publish(i)
	}
}

// flush publishes the newest result, if there is one that was not. Nobody works.
func (r *results) flush(i *imager) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interval.count > 0 {
		r.publish(i)
	}
}

// publish publishes the newest result. Called with the lock held.
func (r *results) publish(i *imager) {
	r.n++
	m := newSpatial(&r.last.result, r.header, r.n, r.coverage, lag(i.clock, r.header.HostNS))
	if r.interval.count > 0 {
		m.Interval = r.interval.message()
		r.interval = interval{power: r.interval.power[:0]}
	}
	line, err := i.cfg.Messenger.Encode(TypeSpatial, i.spec.Run, m)
	if err == nil {
		err = i.cfg.Messenger.Publish(bus.SpatialSubject(i.spec.Camera), nil, line)
	}
	if err != nil {
		i.log.Debug("a spatial spectrum is lost", "seq", r.header.Seq, "error", err)
	}
}

func (v *interval) add(t *transformer, seq uint64) {
	s := &t.result
	if v.count == 0 {
		v.first, v.least, v.most, v.sharpest = seq, s.Sharpness, s.Sharpness, seq
		v.power = append(v.power[:0], make([]float64, len(s.Radial))...)
	}
	v.count++
	v.first, v.end = min(v.first, seq), max(v.end, seq+1)
	for i, p := range s.Radial {
		v.power[i] += p
	}
	v.sum += s.Sharpness
	v.least = min(v.least, s.Sharpness)
	if s.Sharpness > v.most || s.Sharpness == v.most && seq < v.sharpest {
		v.most, v.sharpest = s.Sharpness, seq
	}
}

func (v *interval) message() *SpatialInterval {
	m := &SpatialInterval{
		Frames: v.count, FirstSeq: v.first, EndSeq: v.end, Power: make([]Num, len(v.power)),
		Sharpness: SharpnessRange{Mean: Num(v.sum / float64(v.count)), Least: Num(v.least), Most: Num(v.most), MostSeq: v.sharpest},
	}
	for i, p := range v.power {
		m.Power[i] = Num(p / float64(v.count))
	}
	return m
}

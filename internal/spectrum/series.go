package spectrum

import "fmt"

// The bounds and defaults of temporal spectra.
const (
	MinSegment         = 16
	MaxSegment         = 8192
	DefaultSeriesBytes = 24 << 20
	recentSegments     = 8
	maxSeq             = 1 << 62
)

// Sample is what the temporal analysis keeps of one frame.
type Sample struct {
	Seq uint64
	// DeviceNS is the camera's timestamp, HostNS the time of arrival, both in nanoseconds.
	DeviceNS, HostNS int64
	// Means are those of Tiles.Means, counts.
	Means []float64
}

// SeriesConfig says what a Series keeps.
type SeriesConfig struct {
	// Values is the number of means of a sample.
	Values int
	// SegmentFrames is the length of Welch's segments, an even number from MinSegment to MaxSegment.
	SegmentFrames int
	// MaxBytes bounds the samples' memory. It must hold four segments.
	MaxBytes int64
}

// Series is the samples of a run, keyed by seq. They may come in any order and more than once. It remembers
// the newest ones, as many as its memory holds; segments that leave the memory, or are whole and follow the
// one summed last, are summed in the order of their frames. So two series that were given the same samples
// in whatever order have the same Total, to the last bit, as long as no sample came later than its place in
// the memory was given up. A Series is used by one goroutine at a time.
type Series struct {
	cfg      SeriesConfig
	hop      int // half a segment
	capacity int // samples remembered: a multiple of hop
	base     uint64
	next     uint64 // the end of the remembered samples: one after the newest

	tags     []uint64 // per slot seq+1
	deviceNS []int64
	means    []float64 // per value capacity of them
	filled   []int     // per block of hop samples how many are there

	segment uint64   // start of the segment to be summed next
	total   *welch   // of the whole run
	levels  []*welch // scratch: SegmentFrames, half of it, … at least MinSegment
	broken  int

	coverage Coverage
}

// Coverage says what a Series was given.
type Coverage struct {
	// Seen is the number of different frames, Late that of samples that came after the memory had passed
	// them (repeats of old ones among them), End one more than the largest seq.
	Seen, Late, End uint64
	// NewestHostNS is the largest time of arrival.
	NewestHostNS int64
}

// sampleBytes is the memory of one sample in a Series.
func sampleBytes(values int) int64 { return 8 + 8 + 8*int64(values) }

// NewSeries makes an empty series with its memory. The error wraps ErrConfig.
func NewSeries(cfg SeriesConfig) (*Series, error) {
	n := cfg.SegmentFrames
	if err := ValidSegment(n); err != nil {
		return nil, err
	}
	if cfg.Values < 1 || cfg.Values > 1+MaxGrid*MaxGrid {
		return nil, fmt.Errorf("%w: series of %d values", ErrConfig, cfg.Values)
	}
	s := &Series{cfg: cfg, hop: n / 2}
	s.capacity = int(min(cfg.MaxBytes/sampleBytes(cfg.Values), 1<<24)) / s.hop * s.hop
	if s.capacity < 4*n {
		return nil, fmt.Errorf("%w: %d bytes do not hold four segments of %d frames with %d values, which take %d",
			ErrConfig, cfg.MaxBytes, n, cfg.Values, 4*int64(n)*sampleBytes(cfg.Values))
	}
	s.tags = make([]uint64, s.capacity)
	s.deviceNS = make([]int64, s.capacity)
	s.means = make([]float64, s.capacity*cfg.Values)
	s.filled = make([]int, s.capacity/s.hop)
	var err error
	if s.total, err = newWelch(n, cfg.Values); err != nil {
		return nil, err
	}
	for ; n >= MinSegment; n = n / 4 * 2 {
		w, err := newWelch(n, cfg.Values)
		if err != nil {
			return nil, err
		}
		s.levels = append(s.levels, w)
	}
	return s, nil
}

// Add takes a sample over (a copy of its means) and reports whether it is new. The error wraps ErrSize.
func (s *Series) Add(x Sample) (bool, error) {
	if len(x.Means) != s.cfg.Values {
		return false, fmt.Errorf("%w: a sample of %d values, the series has %d", ErrSize, len(x.Means), s.cfg.Values)
	}
	if x.Seq >= maxSeq {
		return false, fmt.Errorf("%w: frame %d", ErrSize, x.Seq)
	}
	if x.Seq < s.base {
		s.coverage.Late++
		return false, nil
	}
	if x.Seq-s.base >= uint64(s.capacity) {
		s.forget((x.Seq/uint64(s.hop)+1)*uint64(s.hop) - uint64(s.capacity))
	}
	slot := s.slot(x.Seq)
	if s.tags[slot] == x.Seq+1 {
		return false, nil
	}
	s.tags[slot] = x.Seq + 1
	s.deviceNS[slot] = x.DeviceNS
	for v, m := range x.Means {
		s.means[v*s.capacity+slot] = m
	}
	s.filled[s.block(x.Seq)]++
	s.next = max(s.next, x.Seq+1)
	s.coverage.Seen++
	s.coverage.End = s.next
	s.coverage.NewestHostNS = max(s.coverage.NewestHostNS, x.HostNS)
	for s.whole(s.segment, 2*s.hop) {
		s.sumNext()
	}
	return true, nil
}

func (s *Series) slot(seq uint64) int { return int(seq % uint64(s.capacity)) }

func (s *Series) block(seq uint64) int { return s.slot(seq) / s.hop }

// Coverage says what the series was given so far.
func (s *Series) Coverage() Coverage { return s.coverage }

// Bytes is the memory that the series holds.
func (s *Series) Bytes() int64 {
	n := sizeOf(s.tags) + sizeOf(s.deviceNS) + sizeOf(s.means) + sizeOf(s.filled) + s.total.bytes()
	for _, w := range s.levels {
		n += w.bytes()
	}
	return n
}

// Each calls f with a copy of every sample that is remembered, in the order of their seqs, until f returns false.
func (s *Series) Each(f func(Sample) bool) {
	for seq := s.base; seq < s.next; seq++ {
		slot := s.slot(seq)
		if s.tags[slot] != seq+1 {
			continue
		}
		x := Sample{Seq: seq, DeviceNS: s.deviceNS[slot], Means: make([]float64, s.cfg.Values)}
		for v := range x.Means {
			x.Means[v] = s.means[v*s.capacity+slot]
		}
		if !f(x) {
			return
		}
	}
}

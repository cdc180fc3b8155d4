package spectrum_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const ms = 1_000_000 // nanoseconds

func newSeries(t *testing.T, values, segment int, maxBytes int64) *spectrum.Series {
	t.Helper()
	s, err := spectrum.NewSeries(spectrum.SeriesConfig{Values: values, SegmentFrames: segment, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t *testing.T, s *spectrum.Series, xs ...spectrum.Sample) {
	t.Helper()
	for _, x := range xs {
		if _, err := s.Add(x); err != nil {
			t.Fatal(err)
		}
	}
}

// sine are n samples of one value, mean + amplitude·sin(2π·hz·t), at fps.
func sine(n int, fps, hz, mean, amplitude float64) []spectrum.Sample {
	xs := make([]spectrum.Sample, n)
	for i := range xs {
		at := float64(i) / fps
		xs[i] = spectrum.Sample{
			Seq: uint64(i), DeviceNS: int64(math.Round(at * 1e9)), HostNS: int64(at*1e9) + 5,
			Means: []float64{mean + amplitude*math.Sin(2*math.Pi*hz*at)},
		}
	}
	return xs
}

// TestWaveOfFrames is the main acceptance: real frames of the wave pattern, their means, their spectrum.
func TestWaveOfFrames(t *testing.T) {
	const fps, hz, n = 500.0, 37.0, 1000
	g := mono(64, 64, frames.Uint16)
	tiles, err := spectrum.NewTiles(g, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	s := newSeries(t, tiles.Values(), spectrum.AutoSegment(fps, n, tiles.Values(), spectrum.DefaultSeriesBytes), spectrum.DefaultSeriesBytes)
	for seq := range n {
		x := spectrum.Sample{Seq: uint64(seq), DeviceNS: int64(seq) * 2 * ms, Means: make([]float64, tiles.Values())}
		if err := tiles.Means(x.Means, wave(g, 1000, 0.2, hz, float64(seq)/fps, 0.3, 5, 12)); err != nil {
			t.Fatal(err)
		}
		add(t, s, x)
	}
	r := s.Total(n)
	if r.SegmentFrames != 512 || r.Segments != 2 || r.Broken != 0 || r.RateHz != 500 || r.Jitter != 0 || r.Uneven {
		t.Errorf("%d segments of %d at %v Hz, %d broken, jitter %v", r.Segments, r.SegmentFrames, r.RateHz, r.Broken, r.Jitter)
	}
	for v, x := range r.Series {
		if !x.Dominant.Found || math.Abs(x.Dominant.Hz-hz) > r.BinHz/2 {
			t.Errorf("value %d: dominant %v Hz", v, x.Dominant.Hz)
		}
		near(t, "frequency", x.Dominant.Hz, hz, 0.02, r.BinHz)
		near(t, "amplitude", x.Dominant.Amplitude, 200, 0.005, 200)
	}
	near(t, "mean", r.Series[0].Mean, 1000, 0.01, 1000)
}

func TestToneAnywhereBetweenTheBins(t *testing.T) {
	const fps, segment, n = 100.0, 128, 512
	bin := fps / segment
	for i := range 200 {
		hz := (5 + float64(i)*0.05) * bin
		s := newSeries(t, 1, segment, 1<<20)
		add(t, s, sine(n, fps, hz, 300, 7)...)
		tone := s.Total(n).Series[0].Dominant
		near(t, "frequency", tone.Hz, hz, 0.05, bin)
		near(t, "amplitude", tone.Amplitude, 7, 0.01, 7)
	}
}

func TestToneInNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	s := newSeries(t, 1, 256, 1<<20)
	xs := sine(2048, 200, 31.7, 1000, 10)
	for i := range xs {
		xs[i].Means[0] += r.NormFloat64() * 2
	}
	add(t, s, xs...)
	tone := s.Total(2048).Series[0].Dominant
	near(t, "frequency", tone.Hz, 31.7, 0.2, 200.0/256)
	near(t, "amplitude", tone.Amplitude, 10, 0.02, 10)
}

func TestConstantSeriesHasNoTone(t *testing.T) {
	s := newSeries(t, 1, 32, 1<<20)
	add(t, s, sine(100, 10, 1, 1000.0/3, 0)...)
	r := s.Total(100)
	if r.Segments != 5 || r.Series[0].Dominant != (spectrum.Tone{}) {
		t.Errorf("%d segments, %+v", r.Segments, r.Series[0].Dominant)
	}
}

func TestOrderAndRepeatsDoNotMatter(t *testing.T) {
	xs := sine(1000, 500, 37, 1000, 50)
	r := rand.New(rand.NewPCG(2, 2))
	for i := range xs {
		xs[i].Means[0] += r.NormFloat64()
	}
	one := newSeries(t, 1, 128, 1<<20)
	add(t, one, xs...)
	want, wantCoverage := one.Total(1000), one.Coverage()
	if want.Segments != 14 || wantCoverage.Seen != 1000 || wantCoverage.End != 1000 || wantCoverage.Late != 0 {
		t.Fatalf("%d segments, %+v", want.Segments, wantCoverage)
	}
	for range 5 {
		shuffled := append(append([]spectrum.Sample(nil), xs...), xs[100:300]...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		s := newSeries(t, 1, 128, 1<<20)
		add(t, s, shuffled...)
		if got := s.Total(1000); !reflect.DeepEqual(got, want) {
			t.Errorf("another order gives %d segments, %v Hz", got.Segments, got.Series[0].Dominant)
		}
		if s.Coverage() != wantCoverage {
			t.Errorf("coverage %+v, want %+v", s.Coverage(), wantCoverage)
		}
	}
}

// TestNoSegmentSpansAHole loses frames, or time, and compares with the segments computed by themselves.
func TestNoSegmentSpansAHole(t *testing.T) {
	const segment, n = 64, 640 // segments at 0, 32, 64 … 576: 19 of them
	for _, c := range []struct {
		name   string
		change func([]spectrum.Sample) []spectrum.Sample
		broken int
	}{
		{"none", func(xs []spectrum.Sample) []spectrum.Sample { return xs }, 0},
		{"one frame", func(xs []spectrum.Sample) []spectrum.Sample { return append(xs[:300:300], xs[301:]...) }, 2},
		{"the first", func(xs []spectrum.Sample) []spectrum.Sample { return xs[1:] }, 1},
		{"the last", func(xs []spectrum.Sample) []spectrum.Sample { return xs[:n-1] }, 1},
		{"a stretch", func(xs []spectrum.Sample) []spectrum.Sample { return append(xs[:200:200], xs[330:]...) }, 6},
		{"a pause before 320", func(xs []spectrum.Sample) []spectrum.Sample { return delay(xs, 320, 6*ms) }, 1},
		{"a pause before 330", func(xs []spectrum.Sample) []spectrum.Sample { return delay(xs, 330, 6*ms) }, 2},
		{"less than half a period", func(xs []spectrum.Sample) []spectrum.Sample { return delay(xs, 330, 4*ms) }, 0},
		{"a clock that jumps back", func(xs []spectrum.Sample) []spectrum.Sample { return delay(xs, 330, -15*ms) }, 2},
	} {
		s := newSeries(t, 1, segment, 1<<20)
		add(t, s, c.change(sine(n, 100, 20, 1000, 5))...)
		r := s.Total(n)
		if r.Broken != c.broken || r.Segments != 19-c.broken {
			t.Errorf("%s: %d whole and %d broken, want %d and %d", c.name, r.Segments, r.Broken, 19-c.broken, c.broken)
		}
		near(t, c.name+": amplitude", r.Series[0].Dominant.Amplitude, 5, 0.01, 5)
		near(t, c.name+": frequency", r.Series[0].Dominant.Hz, 20, 0.05, r.BinHz)
	}
}

// delay shifts the device time of the frames from seq on.
func delay(xs []spectrum.Sample, seq int, ns int64) []spectrum.Sample {
	for i := range xs[seq:] {
		xs[seq+i].DeviceNS += ns
	}
	return xs
}

func TestShortRunsGetShorterSegments(t *testing.T) {
	s := newSeries(t, 1, 256, 1<<20)
	xs := sine(100, 50, 10, 100, 3)
	add(t, s, xs[:15]...)
	if r := s.Recent(); r.Segments != 0 || len(r.Series) != 0 {
		t.Errorf("15 frames: %d segments of %d", r.Segments, r.SegmentFrames)
	}
	add(t, s, xs[15:]...)
	for name, r := range map[string]*spectrum.TemporalSpectrum{"recent": s.Recent(), "total": s.Total(100)} {
		if r.SegmentFrames != 64 || r.Segments != 2 || r.FirstSeq != 0 || r.EndSeq != 96 || r.FirstNS != 0 || r.LastNS != 95*20*ms {
			t.Errorf("%s: %d segments of %d over [%d, %d)", name, r.Segments, r.SegmentFrames, r.FirstSeq, r.EndSeq)
		}
		near(t, name, r.Series[0].Dominant.Hz, 10, 0.1, r.BinHz)
	}
}

func TestRecentIsTheNewestSegments(t *testing.T) {
	s := newSeries(t, 1, 32, 1<<20)
	add(t, s, sine(1000, 100, 10, 100, 1)[:500]...)
	add(t, s, sine(1000, 100, 20, 100, 1)[500:]...)
	r := s.Recent()
	if r.Segments != 8 || r.EndSeq != 992 || r.FirstSeq != 992-32-7*16 {
		t.Errorf("%d segments over [%d, %d)", r.Segments, r.FirstSeq, r.EndSeq)
	}
	near(t, "frequency", r.Series[0].Dominant.Hz, 20, 0.1, r.BinHz)
}

// TestMemoryIsBounded runs far past what a series remembers: the total is that of a series which remembers
// everything, holes and all.
func TestMemoryIsBounded(t *testing.T) {
	const segment, n = 32, 20_000
	xs := sine(n, 1000, 123, 500, 9)
	xs = append(xs[:7000:7000], xs[7003:]...)
	small, large := newSeries(t, 1, segment, 24*160), newSeries(t, 1, segment, 24*n*2)
	size := small.Bytes()
	add(t, small, xs...)
	add(t, large, xs...)
	a, b := small.Total(n), large.Total(n)
	if !reflect.DeepEqual(a, b) || a.Broken != 2 || a.Segments != n/16-1-2 {
		t.Errorf("%d whole and %d broken, with memory %d and %d", a.Segments, a.Broken, b.Segments, b.Broken)
	}
	if small.Bytes() != size || size > 30_000 {
		t.Errorf("%d bytes grew to %d", size, small.Bytes())
	}
	add(t, small, xs[5])
	if c := small.Coverage(); c.Late != 1 || c.Seen != n-3 {
		t.Errorf("coverage %+v", c)
	}
}

func TestFarJumpsAreHoles(t *testing.T) {
	s := newSeries(t, 1, 16, 24*80)
	add(t, s, sine(64, 100, 20, 100, 1)...)
	for _, seq := range []uint64{1 << 20, 1<<20 + 1, 1 << 61} {
		add(t, s, spectrum.Sample{Seq: seq, DeviceNS: int64(seq), Means: []float64{1}})
	}
	r := s.Total(1<<61 + 1)
	if r.Segments != 7 || r.Broken != 1<<61/8-1-7 {
		t.Errorf("%d whole and %d broken", r.Segments, r.Broken)
	}
	if _, err := s.Add(spectrum.Sample{Seq: 1 << 62, Means: []float64{1}}); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("a seq out of bounds: %v", err)
	}
	if _, err := s.Add(spectrum.Sample{Means: []float64{1, 2}}); !errors.Is(err, spectrum.ErrSize) {
		t.Errorf("too many values: %v", err)
	}
}

func TestJitterIsSeen(t *testing.T) {
	for _, c := range []struct {
		jitter float64
		uneven bool
	}{{0.03, false}, {0.2, true}} {
		xs := sine(600, 100, 12, 100, 4)
		for i := range xs { // every second interval longer, every other shorter
			xs[i].DeviceNS += int64(float64(i%2) * c.jitter * 10 * ms)
		}
		s := newSeries(t, 1, 128, 1<<20)
		add(t, s, xs...)
		r := s.Total(600)
		near(t, "jitter", r.Jitter, c.jitter, 0.01, c.jitter)
		if r.Uneven != c.uneven || r.Segments == 0 {
			t.Errorf("jitter %v: uneven %v, %d segments", c.jitter, r.Uneven, r.Segments)
		}
	}
}

func TestSeriesRefusesNonsense(t *testing.T) {
	for _, c := range []spectrum.SeriesConfig{
		{Values: 0, SegmentFrames: 16, MaxBytes: 1 << 20}, {Values: 1026, SegmentFrames: 16, MaxBytes: 1 << 30},
		{Values: 1, SegmentFrames: 14, MaxBytes: 1 << 20}, {Values: 1, SegmentFrames: 49, MaxBytes: 1 << 20},
		{Values: 1, SegmentFrames: 16384, MaxBytes: 1 << 30}, {Values: 65, SegmentFrames: 1024, MaxBytes: 1 << 20},
	} {
		if _, err := spectrum.NewSeries(c); !errors.Is(err, spectrum.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAutoSegment(t *testing.T) {
	for _, c := range []struct {
		fps    float64
		frames uint64
		values int
		want   int
	}{
		{500, 0, 65, 512}, {513, 0, 65, 1024}, {0, 0, 65, 512}, {1, 0, 65, 16}, {0.3, 0, 65, 16}, {1e-9, 1, 65, 16}, {1e5, 0, 65, 4096},
		{500, 300, 65, 256}, {500, 3, 65, 16}, {1e5, 0, 1025, 512},
	} {
		got := spectrum.AutoSegment(c.fps, c.frames, c.values, spectrum.DefaultSeriesBytes)
		if got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
		newSeries(t, c.values, got, spectrum.DefaultSeriesBytes)
	}
}

func BenchmarkSeries(b *testing.B) {
	s, err := spectrum.NewSeries(spectrum.SeriesConfig{Values: 65, SegmentFrames: 1024, MaxBytes: spectrum.DefaultSeriesBytes})
	if err != nil {
		b.Fatal(err)
	}
	x := spectrum.Sample{Means: make([]float64, 65)}
	for b.Loop() {
		if _, err := s.Add(x); err != nil {
			b.Fatal(err)
		}
		x.Seq++
		x.DeviceNS += ms
	}
}

package analysis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// everyFrame has workers transform every frame.
func everyFrame(workers int) func(*analysis.Config) {
	return func(c *analysis.Config) { c.All, c.Workers = true, workers }
}

// TestEveryFrameIsTransformed: members with several workers each compute every frame's spectrum once, and publish what
// they give together.
func TestEveryFrameIsTransformed(t *testing.T) {
	const n = 700
	for _, members := range []int{1, 2} {
		s := newStation(t, link.Lossless, members, spec500())
		for _, name := range names(members) {
			s.join(name, everyFrame(2))
		}
		s.arm(64, 0)
		for seq := range uint64(n) {
			s.capture(seq, int64(seq)*2_000_000, ripple)
		}
		s.drain()
		r, rest := s.final()
		if r.Coverage.Seen != n || r.Coverage.Broken != 0 {
			t.Errorf("coverage %+v", r.Coverage)
		}
		near(t, "dominant", float64(*r.Frame.DominantHz), 37, float64(r.BinHz)/2)
		if sum := s.intervals(rest, n); sum != n {
			t.Errorf("%d members: %d spectra of %d frames", members, sum, n)
		}
		s.dispatcher.CloseRun()
	}
}

// intervals waits until the spatial spectra that are published are of n frames, checks each, and returns of how many.
func (s *station) intervals(got []*nats.Msg, n uint64) uint64 {
	s.t.Helper()
	sum := uint64(0)
	timeout := time.After(patience)
	for {
		for _, m := range got {
			if m.Subject == base+".spectrum.spatial" {
				sum += s.interval(m)
			}
		}
		if sum >= n {
			return sum
		}
		select {
		case m := <-s.results:
			got = []*nats.Msg{m}
		case <-timeout:
			return sum
		}
	}
}

// interval checks a spatial spectrum of the wave, and returns of how many frames it is.
func (s *station) interval(m *nats.Msg) uint64 {
	s.t.Helper()
	var r analysis.Spatial
	decode(s.t, m, analysis.TypeSpatial, s.spec.Run, &r)
	v := r.Interval
	if v == nil {
		s.t.Fatalf("frame %d: no interval", r.Seq)
	}
	if v.FirstSeq > r.Seq || v.EndSeq <= r.Seq || v.Frames == 0 || v.Frames > v.EndSeq-v.FirstSeq || r.Coverage.Seen == 0 {
		s.t.Errorf("frame %d in %+v, coverage %+v", r.Seq, v, r.Coverage)
	}
	// The wave's contrast is the same in every frame.
	total := 0.0
	for i, p := range v.Power {
		total += float64(p) * float64(r.Radial.Count[i])
	}
	if want := float64(r.Variance); !(total > 0.99*want && total < 1.01*want) {
		s.t.Errorf("frame %d: the interval's power is %v, the frame's %v", r.Seq, total, want)
	}
	sharp := v.Sharpness
	if !(sharp.Least <= sharp.Mean && sharp.Mean <= sharp.Most && sharp.Least <= r.Sharpness && r.Sharpness <= sharp.Most && sharp.Least > 0) ||
		sharp.MostSeq < v.FirstSeq || sharp.MostSeq >= v.EndSeq {
		s.t.Errorf("frame %d: %+v of frames from %d to %d", r.Seq, sharp, v.FirstSeq, v.EndSeq)
	}
	return v.Frames
}

// TestEveryFrameOfLatest: a member that can't keep up transforms every frame that it is given, the last one included.
func TestEveryFrameOfLatest(t *testing.T) {
	spec := spec500()
	spec.Geometry.Height, spec.Geometry.Width = 300, 400
	s := newStation(t, link.Latest, 1, spec)
	m := s.join("analyze-0", everyFrame(2))
	s.arm(16, 4)
	for seq := range uint64(200) {
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, rest := s.final()
	for r.Coverage.Seen < m.Health().Frames {
		var more []*nats.Msg
		r, more = s.final()
		rest = append(rest, more...)
	}
	// A member that was taken for hung may get the newest frame behind the end: its spectrum is out when the run is closed.
	n := m.Health().Frames
	s.dispatcher.CloseRun()
	if sum := s.intervals(rest, n); sum != n || sum == 0 {
		t.Errorf("%d spectra of %d frames", sum, n)
	}
}

// TestFramesGoWithoutASpectrum: where a worker rests, frames have their means all the same.
func TestFramesGoWithoutASpectrum(t *testing.T) {
	s := newStation(t, link.Lossless, 1, spec500())
	m := s.join("analyze-0", func(c *analysis.Config) { c.All, c.Workers, c.Share = true, 1, analysis.LeastShare })
	s.arm(64, 0)
	for seq := range uint64(300) {
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, rest := s.final()
	if r.Coverage.Seen != 300 || m.Health().Frames != 300 {
		t.Errorf("coverage %+v", r.Coverage)
	}
	sum := uint64(0)
	for _, m := range rest {
		if m.Subject == base+".spectrum.spatial" {
			sum += s.interval(m)
		}
	}
	if sum == 0 || sum == 300 {
		t.Errorf("%d of 300 frames have a spectrum", sum)
	}
}

// TestLargeFramesShareTheLimit: no more workers than the limit of their memory allows, and of a frame that is too large for one
// the middle.
func TestLargeFramesShareTheLimit(t *testing.T) {
	spec := spec500()
	spec.Geometry = frames.Geometry{Height: 512, Width: 640, Channels: 1, Dtype: frames.Uint8}
	for limit, height := range map[int64]int{4 << 20: 512, 1 << 20: 0} {
		s := newStation(t, link.Lossless, 1, spec)
		s.join("analyze-0", func(c *analysis.Config) { c.All, c.Workers, c.MaxPlaneBytes = true, 8, limit })
		s.arm(16, 0)
		for seq := range uint64(20) {
			s.capture(seq, int64(seq)*2_000_000, wave{mean: 100, as: 0.5, ky: 5, kx: 12})
		}
		s.drain()
		if _, rest := s.final(); len(rest) == 0 {
			t.Errorf("%d bytes: nothing was published", limit)
		} else {
			s.checkRegion(rest, height)
		}
		s.dispatcher.CloseRun()
	}
}

// checkRegion holds what was transformed against a height, 0 for the middle of the frame.
func (s *station) checkRegion(results []*nats.Msg, height int) {
	s.t.Helper()
	for _, m := range results {
		if m.Subject != base+".spectrum.spatial" {
			continue
		}
		var r analysis.Spatial
		decode(s.t, m, analysis.TypeSpatial, s.spec.Run, &r)
		w, whole := r.Window, s.spec.Geometry.Height
		if height > 0 && w.Height != height || height == 0 && (w.Height >= whole || w.Y != (whole-w.Height)/2) {
			s.t.Errorf("frame %d: %+v of %s", r.Seq, w, s.spec.Geometry)
		}
	}
}

func TestWorkersAreChecked(t *testing.T) {
	good := analysis.Default()
	good.Camera, good.Member, good.Messenger = camera, "a", analysis.NATS((*nats.Conn)(nil), camera, "a")
	for name, change := range map[string]func(*analysis.Config){
		"every":   func(c *analysis.Config) { c.Every = time.Millisecond },
		"workers": func(c *analysis.Config) { c.Workers = analysis.MaxWorkers + 1 },
		"none":    func(c *analysis.Config) { c.Workers = -1 },
		"share":   func(c *analysis.Config) { c.Share = 1.5 },
		"nothing": func(c *analysis.Config) { c.Share = 0.001 },
	} {
		c := good
		change(&c)
		if _, err := analysis.New(c); !errors.Is(err, analysis.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

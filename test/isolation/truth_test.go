package isolation_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// heard is what a run has said.
type heard struct {
	backpressure *programs.Messages[bus.Backpressure]
	events       *programs.Messages[bus.Event]
	spatial      *programs.Messages[analysis.Spatial]
	temporal     *programs.Messages[analysis.Temporal]
	status       *programs.Messages[bus.MemberStatus]

	mu      sync.Mutex       // guards what follows
	batches []analysis.Batch // that the other analyser has sent to the one that combines
}

func listen(t *testing.T, l *programs.Local) *heard {
	t.Helper()
	url := l.BrokerURL()
	h := &heard{
		backpressure: programs.Listen[bus.Backpressure](t, url, bus.BackpressureSubject(l.Camera)),
		events:       programs.Listen[bus.Event](t, url, bus.EventsSubject(l.Camera)),
		spatial:      programs.Listen[analysis.Spatial](t, url, bus.SpatialSubject(l.Camera)),
		temporal:     programs.Listen[analysis.Temporal](t, url, bus.TemporalSubject(l.Camera)),
		status:       programs.Listen[bus.MemberStatus](t, url, bus.StatusSubject(l.Camera)),
	}
	if _, err := l.NC.Subscribe(bus.LinkPrefix(l.Camera)+"combine.*", func(m *nats.Msg) {
		b, err := analysis.DecodeBatch(m.Data)
		if err != nil {
			t.Errorf("a batch: %v", err)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.batches = append(h.batches, b)
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	return h
}

// finished reports whether the run is over.
func (h *heard) finished() bool {
	return slices.ContainsFunc(h.events.All(), func(e bus.Event) bool { return e.Kind == bus.EventFinished })
}

// takenBack counts the frames that were taken back from a member, or from all where it has no name.
func (h *heard) takenBack(name string) (n int) {
	for _, e := range h.events.All() {
		if e.Kind == bus.EventMemberHung && e.Member.Reason == bus.ReasonTakenBack && (name == "" || e.Member.Name == name) {
			n++
		}
	}
	return n
}

// latency is what the writer said last.
func (h *heard) latency() (p50, p99 time.Duration) {
	for _, m := range h.status.All() {
		if m.Writer != nil && m.Frames > 0 {
			p50, p99 = time.Duration(m.Writer.DurableP50NS), time.Duration(m.Writer.DurableP99NS)
		}
	}
	return p50, p99
}

// results counts what a member has published so far: spectra, and samples for the one that combines.
func (h *heard) results(name string) (n int) {
	for _, m := range h.spatial.All() {
		if m.Process == name {
			n++
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.batches {
		if b.Member == name {
			n += len(b.Samples)
		}
	}
	return n
}

// check holds every number that was published against what the camera made, and the coverage against the account. It
// returns how many results of the member there were. So many frames may have been analysed by it of which it could not tell.
func (h *heard) check(t *testing.T, c camera, sum run.Summary, name string, untold uint64) int {
	t.Helper()
	pattern, size, err := sim.Expected(c.source())
	if err != nil {
		t.Fatal(err)
	}
	g := frames.Geometry{Width: c.width, Height: c.height, Channels: 1, Dtype: frames.Uint16}
	pixels := make([]byte, size)

	tiles, err := spectrum.NewTiles(g, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	means := make([]float64, tiles.Values())
	h.mu.Lock()
	batches := h.batches
	h.mu.Unlock()
	samples := map[uint64]bool{}
	for _, b := range batches {
		for _, s := range b.Samples {
			if samples[s.Seq] {
				continue // a batch without an answer is sent again
			}
			samples[s.Seq] = true
			pattern.Fill(pixels, s.Seq)
			if err := tiles.Means(means, pixels); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(means, s.Means) {
				t.Errorf("%s: the means of frame %d are not those of what the camera made", b.Member, s.Seq)
			}
		}
	}

	spatial, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: g, Window: spectrum.WindowHann, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range h.spatial.All() {
		pattern.Fill(pixels, m.Seq)
		if err := spatial.Load(pixels); err != nil {
			t.Fatal(err)
		}
		if same, err := equal(m, spatial.Compute()); err != nil || !same {
			t.Errorf("%s: the spectrum of frame %d is not that of what the camera made (%v)", m.Process, m.Seq, err)
		}
		if v := m.Coverage; v.Seen < v.Skipped+1 || v.Captured < v.Seen || v.Captured > sum.Captured {
			t.Errorf("%s: the coverage of frame %d: %+v", m.Process, m.Seq, v)
		}
	}
	h.checkCoverage(t, sum, samples, name, untold)
	return h.results(name)
}

// checkCoverage holds the last temporal result's coverage against the account of the run. Frames that were analysed and
// taken back before the word of it arrived count as skipped in the account, and as seen in the coverage.
func (h *heard) checkCoverage(t *testing.T, sum run.Summary, samples map[uint64]bool, name string, untold uint64) {
	t.Helper()
	all := h.temporal.All()
	var final *analysis.Temporal
	for i := range all {
		if all[i].Coverage.Seen > all[i].Coverage.Captured || all[i].Coverage.Captured > sum.Captured {
			t.Errorf("%s: coverage %+v of %d frames", all[i].Process, all[i].Coverage, sum.Captured)
		}
		if all[i].Final {
			final = &all[i]
		}
	}
	if final == nil {
		if len(samples) > 0 && !h.stoppedCombiner(name) {
			t.Error("there is no final spectrum over time")
		}
		return
	}
	if v := final.Coverage; v.Captured != sum.Captured || v.Seen+v.Late+untold < sum.Analyzed || v.Seen > sum.Analyzed+uint64(h.takenBack("")) {
		t.Errorf("coverage %+v; the run has captured %d, analysed %d, %d were taken back", v, sum.Captured, sum.Analyzed, h.takenBack(""))
	}
}

// stoppedCombiner reports whether the member never sent its own samples: it combines.
func (h *heard) stoppedCombiner(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(h.batches, func(b analysis.Batch) bool { return b.Member == name })
}

// equal compares a message's numbers with a spectrum, in the digits that messages have.
func equal(m analysis.Spatial, want *spectrum.SpatialSpectrum) (bool, error) {
	numbers := func(mean, variance, total, sharpness analysis.Num, radial []analysis.Num) ([]byte, error) {
		return json.Marshal([]any{mean, variance, total, sharpness, radial})
	}
	radial := make([]analysis.Num, len(want.Radial))
	for i, v := range want.Radial {
		radial[i] = analysis.Num(v)
	}
	a, err := numbers(m.Mean, m.Variance, m.Total, m.Sharpness, m.Radial.Power)
	if err != nil {
		return false, err
	}
	b, err := numbers(analysis.Num(want.Mean), analysis.Num(want.Variance), analysis.Num(want.Total), analysis.Num(want.Sharpness), radial)
	if err != nil {
		return false, err
	}
	if len(m.Peaks) != len(want.Peaks) {
		return false, nil
	}
	for i, p := range want.Peaks {
		if m.Peaks[i].KY != p.KY || m.Peaks[i].KX != p.KX {
			return false, nil
		}
	}
	return slices.Equal(a, b), nil
}

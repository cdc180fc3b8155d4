package e2e_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestRun is the main job: a thousand frames through two writers and two analysers, none lost, every byte in the store.
func TestRun(t *testing.T) {
	t.Parallel()
	s := newStation(t, "run")
	spectra := map[string]*programs.Messages[map[string]any]{}
	for _, subject := range []string{bus.SpatialSubject(s.Camera), bus.TemporalSubject(s.Camera)} {
		spectra[subject] = programs.Listen[map[string]any](t, s.url, subject)
	}
	sum := s.end(s.start("--source", "sim:?width=512&height=512&dtype=uint16&fps=200&pattern=hash", "--frames", "1000",
		"--writers", "2", "--analyzers", "2"), 0)

	const frameBytes = 512 * 512 * 2
	want := run.Summary{
		V: 1, Run: sum.Run, Store: sum.Store, Camera: s.Camera, Source: sum.Source,
		Shape: []int{1000, 512, 512}, Dtype: frames.Uint16,
		Captured: 1000, Written: 1000, Lost: 0, LostByReason: map[string]uint64{},
		Analyzed: sum.Analyzed, Skipped: sum.Skipped,
		Bytes: 1000 * frameBytes, StoredBytes: sum.StoredBytes, Seconds: sum.Seconds, DrainSeconds: sum.DrainSeconds,
		BudgetBytes: sum.BudgetBytes, PeakBudgetBytes: sum.PeakBudgetBytes,
		ThrottledSeconds: sum.ThrottledSeconds, PausedSeconds: sum.PausedSeconds,
		EndedBy: run.EndedFrames, Warnings: sum.Warnings, Latency: sum.Latency, Processes: sum.Processes,
	}
	if d := cmp.Diff(want, sum); d != "" {
		t.Errorf("the summary (-want +got):\n%s", d)
	}
	if sum.Run.IsZero() || sum.Analyzed == 0 || sum.Analyzed+sum.Skipped != 1000 {
		t.Errorf("run %s, analysed %d, skipped %d: the two must make 1000", sum.Run, sum.Analyzed, sum.Skipped)
	}
	if sum.StoredBytes < sum.Bytes || sum.Seconds <= 0 || sum.PeakBudgetBytes < frameBytes || sum.PeakBudgetBytes > sum.BudgetBytes {
		t.Errorf("%d bytes stored of %d, in %v s, peak %d of %d", sum.StoredBytes, sum.Bytes, sum.Seconds, sum.PeakBudgetBytes, sum.BudgetBytes)
	}
	if sum.Latency == nil || sum.Latency.Frames != 1000 {
		t.Errorf("latencies %+v", sum.Latency)
	}
	s.NothingLeft()

	var kinds []bus.Kind
	for i, e := range s.events.All() {
		kinds = append(kinds, e.Kind)
		if e.Run == sum.Run && e.N == 0 || e.Camera != s.Camera {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	for _, k := range []bus.Kind{bus.EventArmed, bus.EventStarted, bus.EventShardSealed, bus.EventDrained, bus.EventFinished} {
		if !slices.Contains(kinds, k) {
			t.Errorf("no event %q among %q", k, kinds)
		}
	}
	for subject, results := range spectra {
		if len(results.All()) == 0 {
			t.Errorf("nothing was published on %s", subject)
		}
	}
}

// TestRunWithItsOwnBroker is the same without a broker from outside.
func TestRunWithItsOwnBroker(t *testing.T) {
	t.Parallel()
	s := bareStation(t, "own")
	sum := s.end(s.Launch("--source", "sim:?width=64&height=48&dtype=uint8&fps=0&pattern=counter", "--frames", "100", "--compress", "zstd"), 0)
	if sum.Captured != 100 || sum.Written != 100 || sum.EndedBy != run.EndedFrames {
		t.Errorf("captured %d, written %d, ended by %q", sum.Captured, sum.Written, sum.EndedBy)
	}
	if e := s.Endpoint(); e.URL != "" {
		t.Errorf("the broker's file is left: %+v", e)
	}
	s.NothingLeft()
}

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

// TestRun is the main job, as the README has it: a thousand frames through two writers and two analysers, none lost, every
// byte in the store.
func TestRun(t *testing.T) {
	t.Parallel()
	url := programs.Broker(t)
	events := programs.Listen[bus.Event](t, url, bus.EventsSubject("e2e-run"))
	spatial := programs.Listen[map[string]any](t, url, bus.SpatialSubject("e2e-run"))
	temporal := programs.Listen[map[string]any](t, url, bus.TemporalSubject("e2e-run"))
	s := bin.Record(t, 0, "--nats", url, "--camera", "e2e-run",
		"--source", "sim:?width=512&height=512&dtype=uint16&fps=200&pattern=hash", "--frames", "1000",
		"--writers", "2", "--analyzers", "2", "--out", t.TempDir())

	const frameBytes = 512 * 512 * 2
	want := run.Summary{
		V: 1, Run: s.Run, Store: s.Store, Camera: "e2e-run", Source: s.Source,
		Shape: []int{1000, 512, 512}, Dtype: frames.Uint16,
		Captured: 1000, Written: 1000, Lost: 0, LostByReason: map[string]uint64{},
		Analyzed: s.Analyzed, Skipped: s.Skipped,
		Bytes: 1000 * frameBytes, StoredBytes: s.StoredBytes, Seconds: s.Seconds, DrainSeconds: s.DrainSeconds,
		BudgetBytes: s.BudgetBytes, PeakBudgetBytes: s.PeakBudgetBytes,
		ThrottledSeconds: s.ThrottledSeconds, PausedSeconds: s.PausedSeconds,
		EndedBy: run.EndedFrames, Warnings: s.Warnings,
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("the summary (-want +got):\n%s", d)
	}
	if s.Run.IsZero() || s.Analyzed == 0 || s.Analyzed+s.Skipped != 1000 {
		t.Errorf("run %s, analysed %d, skipped %d: the two must make 1000", s.Run, s.Analyzed, s.Skipped)
	}
	if s.StoredBytes < s.Bytes || s.Seconds < 4.9 || s.PeakBudgetBytes < frameBytes || s.PeakBudgetBytes > s.BudgetBytes {
		t.Errorf("%d bytes stored of %d, in %v s, peak %d of %d", s.StoredBytes, s.Bytes, s.Seconds, s.PeakBudgetBytes, s.BudgetBytes)
	}
	bin.Verify(t, s)
	programs.CheckFrames(t, s)

	var kinds []bus.Kind
	for _, e := range events.All() {
		if e.Run == s.Run {
			kinds = append(kinds, e.Kind)
		}
	}
	for _, k := range []bus.Kind{bus.EventArmed, bus.EventStarted, bus.EventShardSealed, bus.EventDrained, bus.EventFinished} {
		if !slices.Contains(kinds, k) {
			t.Errorf("no event %q among %q", k, kinds)
		}
	}
	if len(spatial.All()) == 0 || len(temporal.All()) == 0 {
		t.Errorf("%d spatial and %d temporal spectra were published", len(spatial.All()), len(temporal.All()))
	}
}

// TestRunWithItsOwnBroker is the same without a broker from outside.
func TestRunWithItsOwnBroker(t *testing.T) {
	t.Parallel()
	s := bin.Record(t, 0, "--camera", "e2e-own-broker",
		"--source", "sim:?width=64&height=48&dtype=uint8&fps=0&pattern=counter", "--frames", "100",
		"--compress", "zstd", "--out", t.TempDir())
	if s.Captured != 100 || s.Written != 100 || s.EndedBy != run.EndedFrames {
		t.Errorf("captured %d, written %d, ended by %q", s.Captured, s.Written, s.EndedBy)
	}
	bin.Verify(t, s)
	programs.CheckFrames(t, s)
}

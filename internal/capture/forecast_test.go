package capture

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/speed"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestPredict: what is said of a budget of 100 frames of 1 MB, and what is not.
func TestPredict(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	disk := &speed.Figure{BytesPerSecond: 2e8, From: speed.FromBench, Time: day} // 200 frames/s
	held := &speed.Figure{BytesPerSecond: 2e8, From: speed.FromRun, Time: day}
	yes, no := true, false
	seconds := func(v float64) *float64 { return &v }
	const took = "it took 200 frames/s (sluice bench, 2026-01-02)"
	known := func(f bus.Forecast) *bus.Forecast {
		f.DiskFramesPerSecond, f.DiskBytesPerSecond, f.DiskTime = 200, 2e8, &day
		if f.DiskKnown == "" {
			f.DiskKnown = speed.FromBench
		}
		return &f
	}
	for _, c := range []struct {
		fps    float64
		frames uint64
		disk   *speed.Figure
		want   *bus.Forecast
	}{
		{0, 0, nil, nil},
		{0, 0, disk, known(bus.Forecast{Text: "the disk is known: " + took})},
		{400, 0, nil, &bus.Forecast{
			Text: "at 400 frames/s (400 MB a second) the budget bridges 250ms in which the disk takes nothing; " +
				"what it can take, `sluice bench disk` finds out",
			FramesPerSecond: 400, BytesPerSecond: 4e8, StandstillSeconds: 0.25,
		}},
		{100, 0, disk, known(bus.Forecast{
			Text: "at 100 frames/s (100 MB a second) the disk keeps up: " + took, FramesPerSecond: 100, BytesPerSecond: 1e8, StandstillSeconds: 1, KeepsUp: &yes,
		})},
		{200, 0, held, known(bus.Forecast{
			Text:            "at 200 frames/s (200 MB a second) the disk keeps up, with little to spare: it took 200 frames/s (a run that it held up, 2026-01-02)",
			FramesPerSecond: 200, BytesPerSecond: 2e8, StandstillSeconds: 0.5, KeepsUp: &yes, DiskKnown: speed.FromRun,
		})},
		{202.5, 0, disk, known(bus.Forecast{
			Text:            "at 202 frames/s (203 MB a second) the budget is full after 40s, the disk does not keep up: " + took,
			FramesPerSecond: 202.5, BytesPerSecond: 2.025e8, StandstillSeconds: 100 / 202.5, KeepsUp: &no, SecondsToFull: seconds(40),
		})},
		{400, 200, disk, known(bus.Forecast{
			Text:            "at 400 frames/s (400 MB a second) the disk does not keep up, and the budget is enough for this run's 500ms: " + took,
			FramesPerSecond: 400, BytesPerSecond: 4e8, StandstillSeconds: 0.25, KeepsUp: &no, SecondsToFull: seconds(0.5),
		})},
		{400, 201, disk, known(bus.Forecast{
			Text:            "at 400 frames/s (400 MB a second) the budget is full after 500ms, the disk does not keep up: " + took,
			FramesPerSecond: 400, BytesPerSecond: 4e8, StandstillSeconds: 0.25, KeepsUp: &no, SecondsToFull: seconds(0.5),
		})},
	} {
		spec := run.Spec{FPS: c.fps, Geometry: frames.Geometry{Height: 1000, Width: 1000, Channels: 1, Dtype: frames.Uint8}}
		if diff := cmp.Diff(c.want, predict(spec, 100, c.frames, c.disk)); diff != "" {
			t.Errorf("at %g frames/s, %d of them (-want +got):\n%s", c.fps, c.frames, diff)
		}
	}
}

// TestHeldUp: only a run that was long, undisturbed and throttled says what the disk takes.
func TestHeldUp(t *testing.T) {
	good := run.Summary{Bytes: 1, Seconds: 10, ThrottledSeconds: 6}
	if !heldUp(good) {
		t.Error("a run that was throttled for most of its time says nothing")
	}
	for what, change := range map[string]func(*run.Summary){
		"short": func(s *run.Summary) { s.Seconds, s.ThrottledSeconds = 4, 4 }, "kept up": func(s *run.Summary) { s.ThrottledSeconds = 4 },
		"restarted": func(s *run.Summary) { s.Restarts = 1 }, "empty": func(s *run.Summary) { s.Bytes = 0 },
	} {
		s := good
		change(&s)
		if heldUp(s) {
			t.Errorf("a run that was %s says what the disk takes", what)
		}
	}
}

func TestLasting(t *testing.T) {
	for seconds, want := range map[float64]string{0.0834: "80ms", 1.26: "1.3s", 43.4: "43s", 4000: "1h6m40s", 1e300: "1000h0m0s"} {
		if got := lasting(seconds); got != want {
			t.Errorf("%g s: %s, want %s", seconds, got, want)
		}
	}
}

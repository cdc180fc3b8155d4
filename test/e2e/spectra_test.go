package e2e_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// The wave that the spectra must find: counts, hertz, periods per frame.
const (
	wave                    = "sim:?width=128&height=128&dtype=uint16&fps=500&pattern=wave&hz=37&kx=12&ky=5&mean=16384&at=0.2&as=0.1"
	waveFrames              = 2000
	waveSegment             = 512 // two seconds of frames, rounded down to a power of two
	hz, kx, ky              = 37, 12, 5
	inTime, inSpace         = 16384 * 0.2, 16384 * 0.1
	tolerance               = 0.02
	segmentHz       float64 = 500.0 / waveSegment
)

// temporal is a line of analysis/temporal.jsonl, as a program that is not ours reads it.
type temporal struct {
	Final  bool
	Window struct {
		Frames   int
		FirstSeq uint64 `json:"first_seq"`
		EndSeq   uint64 `json:"end_seq"`
	}
	Coverage struct{ Captured, Seen, Late, Segments, Broken uint64 }
	RateHz   float64 `json:"rate_hz"`
	BinHz    float64 `json:"bin_hz"`
	Uneven   bool
	Frame    tone
	Tiles    []tone
}

type tone struct {
	Row, Col   int
	Mean       float64
	DominantHz *float64 `json:"dominant_hz"`
	Amplitude  float64
	PSD        []float64
}

// spatial is a line of analysis/spatial.jsonl.
type spatial struct {
	Seq   uint64
	Peaks []struct {
		KY, KX    int
		Amplitude float64
	}
}

// TestSpectra records a wave with lossless analysis and holds what the analysers found, as the store has it, against
// what the wave is.
func TestSpectra(t *testing.T) {
	t.Parallel()
	found := make([]temporal, 2)
	t.Run("analysers", func(t *testing.T) {
		for i, analyzers := range []string{"1", "3"} {
			t.Run(analyzers, func(t *testing.T) {
				t.Parallel()
				s := newStation(t, "wave-"+analyzers)
				sum := s.end(s.startWave("--analyzers", analyzers), 0)
				found[i] = checkSpectra(t, sum, nil)
				if sum.Analyzed != waveFrames || sum.Skipped != 0 {
					t.Errorf("analysed %d, skipped %d", sum.Analyzed, sum.Skipped)
				}
			})
		}
	})
	if d := cmp.Diff(found[0], found[1]); d != "" {
		t.Errorf("one and three analysers disagree (-one +three):\n%s", d)
	}
}

// TestSpectraAcrossHoles: no segment spans a pause or a missing frame, and the coverage says so.
func TestSpectraAcrossHoles(t *testing.T) {
	t.Parallel()
	t.Run("pause", func(t *testing.T) {
		t.Parallel()
		s := newStation(t, "wave-pause")
		r := s.startWave("--analyzers", "2")
		s.durable(r, 700)
		must[bus.Ack](s, "pause")
		paused := s.await("the pause", r, func(st bus.Status) bool { return st.State == bus.StatePaused })
		must[bus.Ack](s, "resume")
		sum := s.end(r, 0)
		seq := paused.Captured
		checkSpectra(t, sum, func(first, end uint64) bool { return first < seq && seq < end })
		t.Logf("paused at frame %d for %.3f s", seq, sum.PausedSeconds)
	})
	t.Run("missing frames", func(t *testing.T) {
		t.Parallel()
		s := newStation(t, "wave-miss")
		const every = 700
		sum := s.end(s.startWave("--analyzers", "3", "--source", wave+"&missevery=700"), 3)
		if sum.Lost != 2 {
			t.Errorf("lost %d, want 2", sum.Lost)
		}
		checkSpectra(t, sum, func(first, end uint64) bool {
			for seq := first; seq < end; seq++ {
				if seq%every == every-1 {
					return true
				}
			}
			return false
		})
	})
}

// startWave starts a run of the wave. Its budget has room for all frames: nothing pauses unasked.
func (s *station) startWave(args ...string) *programs.Running {
	s.t.Helper()
	if !slices.Contains(args, "--source") {
		args = append(args, "--source", wave)
	}
	return s.start(append(args, "--frames", "2000", "--budget", "96MiB", "--analyze-policy", "lossless", "--spectrum-every", "250ms")...)
}

// checkSpectra checks all results in a store. broken says whether the frames from first to end, end not included,
// have a hole; nil means that none have.
func checkSpectra(t *testing.T, sum run.Summary, broken func(first, end uint64) bool) temporal {
	t.Helper()
	results := programs.Lines[temporal](t, filepath.Join(sum.Store, "analysis", "temporal.jsonl"))
	if len(results) == 0 || !results[len(results)-1].Final {
		t.Fatalf("the store has %d temporal results, the last of them not final", len(results))
	}
	last := results[len(results)-1]
	var whole, left uint64
	for first := uint64(0); first+waveSegment <= sum.Captured; first += waveSegment / 2 {
		if broken != nil && broken(first, first+waveSegment) {
			left++
		} else {
			whole++
		}
	}
	c := last.Coverage
	if c.Captured != waveFrames || c.Seen != waveFrames-sum.Lost || c.Late != 0 || c.Segments != whole || c.Broken != left {
		t.Errorf("coverage %+v, want %d of %d frames, %d whole and %d broken segments", c, waveFrames-sum.Lost, waveFrames, whole, left)
	}
	if w := last.Window; w.Frames != waveSegment || last.RateHz != 500 || math.Abs(last.BinHz-segmentHz) > 1e-6 || last.Uneven {
		t.Errorf("segments of %d frames at %g Hz in bins of %g Hz", w.Frames, last.RateHz, last.BinHz)
	}
	if len(last.Tiles) != 64 || len(last.Frame.PSD) != waveSegment/2+1 {
		t.Errorf("%d tiles, %d values of the density", len(last.Tiles), len(last.Frame.PSD))
	}
	for _, tone := range append(last.Tiles, last.Frame) {
		if tone.DominantHz == nil || math.Abs(*tone.DominantHz-hz) > segmentHz/2 || math.Abs(tone.Amplitude/inTime-1) > tolerance {
			text, err := json.Marshal(tone)
			t.Errorf("want %d Hz ± %g with %g counts: %s (%v)", hz, segmentHz/2, inTime, text, err)
		}
	}
	images := programs.Lines[spatial](t, filepath.Join(sum.Store, "analysis", "spatial.jsonl"))
	if len(images) == 0 {
		t.Error("the store has no spatial results")
	}
	for _, image := range images {
		if p := image.Peaks; len(p) == 0 || p[0].KY != ky || p[0].KX != kx || math.Abs(p[0].Amplitude/inSpace-1) > tolerance {
			t.Errorf("frame %d: want a peak of %g counts at (kx, ky) = (%d, %d), first found: %+v", image.Seq, inSpace, kx, ky, p[:min(1, len(p))])
		}
	}
	t.Logf("%g Hz with %g counts (want %d and %g), coverage %+v, %d temporal and %d spatial results",
		*last.Frame.DominantHz, last.Frame.Amplitude, hz, inTime, c, len(results), len(images))
	return last
}

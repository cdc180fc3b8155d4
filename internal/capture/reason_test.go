package capture

import (
	"math"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestReasonOutlivesAcquire: an acquire that is killed in the drain leaves the reason for the run's end, the warnings and
// the numbers to the next one, whose summary and exit code are those that the run would have had.
func TestReasonOutlivesAcquire(t *testing.T) {
	for name, c := range map[string]struct {
		frames  int
		end     cameratest.End
		args    []string
		stop    bool
		want    string
		code    int
		warning string
	}{
		"camera failed":  {6, cameratest.Fails, nil, false, run.EndedCamera, 6, "the script says so"},
		"camera stalled": {6, cameratest.Stalls, []string{"--stall-after=50ms"}, false, run.EndedStalled, 6, "has sent nothing for 50ms after frame 6"},
		"budget full":    {20, cameratest.Ends, []string{"--on-full=fail"}, false, run.EndedFull, 6, ""},
		"stopped":        {6, cameratest.Stalls, nil, true, run.EndedStop, 0, ""},
		"duration":       {6, cameratest.Stalls, []string{"--duration=50ms"}, false, run.EndedDuration, 0, ""},
		"source":         {6, cameratest.Ends, nil, false, run.EndedSource, 0, ""},
		"frames":         {7, cameratest.Ends, []string{"--frames=6"}, false, run.EndedFrames, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			kill := s.victim(victimSpec{setup: setup{Args: append([]string{"--source=fake:", tight}, c.args...)}, FakeFrames: c.frames, FakeEnd: c.end})
			w := s.writer("w1", true)
			if c.stop {
				s.remote("the frames are in", func(st bus.Status) bool { return st.Captured == 6 })
				if _, err := s.client.Stop(t.Context(), bus.StopRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			st := s.remote("it drains", func(st bus.Status) bool { return st.State == bus.StateDraining })
			s.until("the writer has all", func() bool { return len(w.Held()) == int(st.Captured) })
			told := s.await(bus.EventStopping, 1).N
			kill()
			w.Answer(frames.Durable)
			s.startWith(setup{Restarts: 1, Continue: true})
			sum := s.wait()
			s.expect(sum, c.want, st.Captured, st.Captured, c.code)
			if sum.Restarts != 1 || sum.PeakBudgetBytes < st.Budget.Peak || st.Budget.Peak == 0 || sum.Run != st.Run {
				t.Errorf("summary %+v after %+v", sum, st.Budget)
			}
			if text := strings.Join(sum.Warnings, "; "); c.warning == "" && text != "" || !strings.Contains(text, c.warning) {
				t.Errorf("warnings %q, want %q", sum.Warnings, c.warning)
			}
			if n := s.await(bus.EventFinished, 1).N; n <= told {
				t.Errorf("event %d after %d: the numbers of a run's events only grow", n, told)
			}
		})
	}
}

// TestNumbersOutliveAcquire: paused and throttled times, transitions and what analysers were given and not given add up
// over restarts of acquire.
func TestNumbersOutliveAcquire(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, tight, "--frames=40"}}})
	w := s.writer("w1", true)
	st := s.remote("it has been paused for a while", func(st bus.Status) bool { return st.Budget.PausedSeconds > 0.3 })
	before := s.pushes()
	kill()
	if len(before) != 2 || before[1].N != 2 {
		t.Fatalf("transitions %+v", before)
	}
	w.Answer(frames.Durable)
	s.startWith(setup{Restarts: 1, Continue: true})
	sum := s.wait()
	s.expect(sum, run.EndedFrames, 40, 40, 0)
	// What was kept is at most a period old; the status may be newer than that.
	const old = 0.1 + 0.05
	if sum.PausedSeconds < st.Budget.PausedSeconds-old || sum.ThrottledSeconds < st.Budget.ThrottledSeconds-old || sum.PeakBudgetBytes < st.Budget.Peak {
		t.Errorf("summary %+v after %+v", sum, st.Budget)
	}
	if sum.DrainSeconds < 0 || math.IsNaN(sum.Seconds) || sum.Seconds < st.Budget.PausedSeconds {
		t.Errorf("%f s, drained for %f s", sum.Seconds, sum.DrainSeconds)
	}
	for i, p := range s.pushes() {
		if p.N != uint64(i+1) {
			t.Errorf("transition %d has the number %d", i+1, p.N)
		}
	}
}

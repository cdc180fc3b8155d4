package capture

import (
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// small is a budget of 8 slots, 6 beside the reserve for one analyser.
const small = "--budget=32KiB"

// without returns a script's frames without those of some numbers.
func without(fs []cameratest.Frame, missing ...int) []cameratest.Frame {
	var out []cameratest.Frame
	for i, f := range fs {
		if !slices.Contains(missing, i) {
			out = append(out, f)
		}
	}
	return out
}

// TestHowRunsEnd: the number of frames is exact, with gaps that cross it too; each end has its word and exit code.
func TestHowRunsEnd(t *testing.T) {
	seq := func(n int) []cameratest.Frame { return cameratest.Sequence(n, 0) }
	for _, c := range []struct {
		name              string
		script            cameratest.Script
		args              []string
		ended             string
		captured, written uint64
		code              int
		warns             bool
	}{
		{"frames", cameratest.Script{Frames: seq(100)}, []string{"--frames=10"}, run.EndedFrames, 10, 10, 0, false},
		{"frames of a free camera", cameratest.Script{Frames: seq(100), Free: true, Buffers: 100}, []string{"--frames=10", "--on-full=pause", "--budget=4MiB"}, run.EndedFrames, 10, 10, 0, false},
		{"one frame", cameratest.Script{Frames: seq(1)}, []string{"--frames=1"}, run.EndedFrames, 1, 1, 0, false},
		{"gap across the limit", cameratest.Script{Frames: without(seq(20), 3, 4, 5, 6, 7, 8), IDBits: 16}, []string{"--frames=6"}, run.EndedFrames, 6, 3, 3, false},
		{"gap up to the limit", cameratest.Script{Frames: without(seq(20), 3, 4, 5), IDBits: 16}, []string{"--frames=6"}, run.EndedFrames, 6, 3, 3, false},
		{"gap before the limit", cameratest.Script{Frames: without(seq(20), 3, 4), IDBits: 16}, []string{"--frames=6"}, run.EndedFrames, 6, 4, 3, false},
		{"source", cameratest.Script{Frames: seq(7)}, nil, run.EndedSource, 7, 7, 0, false},
		{"source shorter than asked", cameratest.Script{Frames: seq(7)}, []string{"--frames=10"}, run.EndedSource, 7, 7, 0, false},
		{"nothing at all", cameratest.Script{}, nil, run.EndedSource, 0, 0, 0, false},
		{"stalled", cameratest.Script{Frames: seq(7), End: cameratest.Stalls}, []string{"--stall-after=50ms"}, run.EndedStalled, 7, 7, 6, true},
		{"failed", cameratest.Script{Frames: seq(7), End: cameratest.Fails}, nil, run.EndedCamera, 7, 7, 6, true},
		{"duration", cameratest.Script{Frames: seq(7), End: cameratest.Stalls}, []string{"--duration=50ms"}, run.EndedDuration, 7, 7, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStation(t)
			if c.script.IDBits > 0 {
				s.check = anyPixels
			}
			fake := s.fake(c.script)
			s.start(append([]string{small, "--source=fake:"}, c.args...)...)
			s.writer("w1", false)
			s.begin()
			sum := s.wait()
			s.expect(sum, c.ended, c.captured, c.written, c.code)
			if !fake.Closed() {
				t.Error("the camera is open")
			}
			if (len(sum.Warnings) > 0) != c.warns {
				t.Errorf("warnings %q", sum.Warnings)
			}
			if sum.Shape[0] != int(c.captured) || sum.Dtype != frames.Uint8 || sum.V != 1 || sum.Store != "/store/"+sum.Store[len("/store/"):] {
				t.Errorf("summary %+v", sum)
			}
			if e := s.await(bus.EventFinished, 1); e.Summary == nil || e.Summary.Captured != c.captured || e.Summary.EndedBy != c.ended {
				t.Errorf("finished with %+v", e.Summary)
			}
			var kinds []bus.Kind
			for i, e := range s.told(bus.EventArmed, bus.EventStarted, bus.EventStopping, bus.EventDrained, bus.EventFinished) {
				if kinds = append(kinds, e.Kind); e.Run != sum.Run {
					t.Errorf("event %d is of run %s", i, e.Run)
				}
			}
			if want := []bus.Kind{bus.EventArmed, bus.EventStarted, bus.EventStopping, bus.EventDrained, bus.EventFinished}; !slices.Equal(kinds, want) {
				t.Errorf("events %v, want %v", kinds, want)
			}
		})
	}
}

// TestEventsAreNumbered: a run's events are numbered without a gap and come to the primary writer in that order.
func TestEventsAreNumbered(t *testing.T) {
	s := newStation(t)
	s.fake(cameratest.Script{Frames: cameratest.Sequence(30, 0)})
	s.start(small, "--source=fake:")
	w := s.writer("w1", false)
	s.begin()
	sum := s.wait()
	s.await(bus.EventFinished, 1)
	s.until("the writer has the last event", func() bool {
		return len(w.Events()) > 0 && contains(w.Events()[len(w.Events())-1], `"kind":"finished"`)
	})
	n := uint64(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Run == sum.Run {
			if n++; e.N != n {
				t.Errorf("event %d has the number %d", n, e.N)
			}
		}
	}
	if lines := w.Events(); uint64(len(lines)) != n {
		t.Errorf("the writer has %d events, %d were published", len(lines), n)
	}
}

// TestGaps: what a camera's frame ids tell is in the ledger with the right ids, over the wrap of 16 bits and over
// frames that came with parts missing.
func TestGaps(t *testing.T) {
	for _, skip := range []bool{false, true} {
		fs := cameratest.Number(cameratest.Sequence(20, 0), 16, skip, 65530)
		first := fs[0].ID
		fs[2].Incomplete = true
		fs[13].Incomplete = true
		fs = without(fs, 5, 6, 7, 8, 14, 15) // across the wrap, and beside an incomplete one
		s := newStation(t)
		s.check = anyPixels
		s.fake(cameratest.Script{Frames: fs, IDBits: 16, IDSkipsZero: skip})
		s.start(small, "--source=fake:")
		w := s.writer("w1", false)
		s.begin()
		s.expect(s.wait(), run.EndedSource, 20, 12, 3)
		want := []frames.Loss{
			loss(2, 1, first+2, frames.Incomplete, frames.AtCamera),
			loss(5, 4, first+5, frames.Missed, frames.AtCamera),
			loss(13, 1, first+13, frames.Incomplete, frames.AtCamera),
			loss(14, 2, first+14, frames.Missed, frames.AtCamera),
		}
		if got := losses(w); !slices.Equal(got, want) {
			t.Errorf("skipping zero %v: lost %+v, want %+v", skip, got, want)
		}
		for _, f := range w.Seen(frames.KindFrames) {
			if f.Offer.FrameID != first+f.Seq {
				t.Errorf("frame %d has the id %d", f.Seq, f.Offer.FrameID)
			}
		}
	}
}

// TestMissedFromTheStart: a camera whose first frame must be number 0 tells of those before it.
func TestMissedFromTheStart(t *testing.T) {
	s := newStation(t)
	s.fake(cameratest.Script{Frames: without(cameratest.Sequence(8, 0), 0, 1, 2), IDBits: 32, IDFromStart: true})
	s.check = anyPixels
	s.start(small, "--source=fake:")
	w := s.writer("w1", false)
	s.begin()
	s.expect(s.wait(), run.EndedSource, 8, 5, 3)
	if got := losses(w); !slices.Equal(got, []frames.Loss{loss(0, 3, 0, frames.Missed, frames.AtCamera)}) {
		t.Errorf("lost %+v", got)
	}
}

// TestRepeatedFrame: the same frame again is not another one.
func TestRepeatedFrame(t *testing.T) {
	fs := cameratest.Sequence(6, 0)
	fs = slices.Insert(fs, 3, fs[2])
	s := newStation(t)
	s.check = anyPixels
	s.fake(cameratest.Script{Frames: fs, IDBits: 16})
	s.start(small, "--source=fake:")
	s.writer("w1", false)
	s.begin()
	s.expect(s.wait(), run.EndedSource, 6, 6, 0)
}

// TestStalledCamera: the wait for the first frame counts too, and the event says so.
func TestStalledCamera(t *testing.T) {
	s := newStation(t)
	s.fake(cameratest.Script{End: cameratest.Stalls})
	s.start(small, "--source=fake:", "--stall-after=50ms")
	s.writer("w1", false)
	s.begin()
	sum := s.wait()
	s.expect(sum, run.EndedStalled, 0, 0, 6)
	if e := s.await(bus.EventCameraStalled, 1); e.Seq != 0 || e.Text != "the camera has sent nothing for 50ms after frame 0" {
		t.Errorf("event %+v", e)
	}
	if len(sum.Warnings) != 1 || sum.Seconds != 0 {
		t.Errorf("summary %+v", sum)
	}
}

// TestStallTime: by default it is 5 s, or ten frames' time where that is more.
func TestStallTime(t *testing.T) {
	for fps, want := range map[float64]time.Duration{0: 5 * time.Second, 1000: 5 * time.Second, 0.5: 20 * time.Second} {
		if got := stallTime(0, fps); got != want {
			t.Errorf("at %v fps: %s, want %s", fps, got, want)
		}
	}
	if got := stallTime(time.Second, 0.5); got != time.Second {
		t.Errorf("asked for a second: %s", got)
	}
}

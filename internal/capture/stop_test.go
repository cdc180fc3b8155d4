package capture

import (
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestStopOfAnArmedRun: nothing of it stays.
func TestStopOfAnArmedRun(t *testing.T) {
	s := newStation(t)
	fake := s.fake(cameratest.Script{})
	s.start(small, "--source=fake:")
	w := s.writer("w1", false)
	armed, err := s.client.Arm(t.Context(), bus.ArmRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := s.client.Stop(t.Context(), bus.StopRequest{})
	if err != nil || ack.State != bus.StateIdle || ack.Run != armed.Spec.Run {
		t.Errorf("%+v, %v", ack, err)
	}
	s.until("the writer knows", func() bool { return len(w.Seen(frames.KindClosed)) == 1 })
	if left, err := slab.List(s.dir); err != nil || len(left) != 0 || !fake.Closed() {
		t.Errorf("slabs %+v, %v; closed %v", left, err, fake.Closed())
	}
	if st := s.inState(bus.StateIdle); st.Reason != "disarmed" {
		t.Errorf("status %+v", st)
	}
}

// TestStopWhileArming: an arming that waits for members is given up.
func TestStopWhileArming(t *testing.T) {
	s := newStation(t)
	fake := s.fake(cameratest.Script{})
	s.start(small, "--source=fake:")
	armed := make(chan error, 1)
	go func() {
		_, err := s.client.Arm(t.Context(), bus.ArmRequest{})
		armed <- err
	}()
	s.until("it waits for a writer", func() bool { left, _ := slab.List(s.dir); return len(left) == 1 })
	if ack, err := s.client.Stop(t.Context(), bus.StopRequest{}); err != nil || ack.State != bus.StateArming {
		t.Errorf("%+v, %v", ack, err)
	}
	wantCode(t, <-armed, exit.Unavailable, "disarmed")
	s.inState(bus.StateIdle)
	if left, _ := slab.List(s.dir); len(left) != 0 || !fake.Closed() {
		t.Errorf("slabs %+v, closed %v", left, fake.Closed())
	}
}

// TestEndWhile: acquire ends in each state, and leaves nothing.
func TestEndWhile(t *testing.T) {
	t.Run("arming", func(t *testing.T) {
		s := newStation(t)
		s.fake(cameratest.Script{})
		s.start(small, "--source=fake:")
		armed := make(chan error, 1)
		go func() {
			_, err := s.Arm(t.Context(), bus.ArmRequest{})
			armed <- err
		}()
		s.until("it waits for a writer", func() bool { left, _ := slab.List(s.dir); return len(left) == 1 })
		s.end()
		<-s.ended
		wantCode(t, <-armed, exit.Unavailable, "disarmed")
		_, err := s.Arm(t.Context(), bus.ArmRequest{})
		wantCode(t, err, exit.Unavailable, "acquire is ending")
		_, err = s.Start(t.Context(), bus.RunRequest{})
		wantCode(t, err, exit.Unavailable, "acquire is ending")
	})
	t.Run("waiting", func(t *testing.T) {
		s := newStation(t)
		fake := s.fake(cameratest.Script{})
		s.start(small, "--source=fake:")
		s.writer("w1", false)
		if _, err := s.client.Arm(t.Context(), bus.ArmRequest{}); err != nil {
			t.Fatal(err)
		}
		s.end()
		<-s.ended
		if left, _ := slab.List(s.dir); len(left) != 0 || !fake.Closed() {
			t.Errorf("slabs %+v, closed %v", left, fake.Closed())
		}
	})
	t.Run("running", func(t *testing.T) {
		s := newStation(t)
		gate := s.gated(20, nil)
		s.start(small, "--source=fake:")
		s.writer("w1", false)
		s.begin()
		s.frames(gate, 5)
		s.captured(5)
		s.end()
		<-s.ended
		s.expect(s.wait(), run.EndedStop, 5, 5, 0)
	})
	t.Run("paused", func(t *testing.T) {
		s := newStation(t)
		s.fake(cameratest.Script{Frames: cameratest.Sequence(20, 0)})
		s.start(tight, "--source=fake:")
		w := s.writer("w1", true)
		s.begin()
		s.inState(bus.StatePaused)
		s.end()
		s.inState(bus.StateDraining)
		w.Answer(frames.Durable)
		<-s.ended
		s.expect(s.wait(), run.EndedStop, 8, 8, 0)
	})
	t.Run("draining, hard", func(t *testing.T) {
		s := newStation(t)
		s.fake(cameratest.Script{Frames: cameratest.Sequence(7, 0)})
		s.start(tight, "--source=fake:")
		w := s.writer("w1", true)
		s.begin()
		s.inState(bus.StateDraining)
		s.until("the writer has all", func() bool { return len(w.Held()) == 7 })
		w.Step(2)
		s.until("two are durable", func() bool { return s.durable() == 2 })
		s.end()
		s.hard()
		s.until("the rest is given up", func() bool {
			n := uint64(0)
			for _, l := range w.Losses() {
				n += l.Count
			}
			return n >= 2
		})
		w.Answer(frames.Stopped)
		<-s.ended
		s.expect(s.wait(), run.EndedHard, 7, 2, 130)
	})
}

// TestStop: a stop drains, from the running and from the paused state.
func TestStop(t *testing.T) {
	s := newStation(t)
	gate := s.gated(100, nil)
	s.start(tight, "--source=fake:")
	w := s.writer("w1", true)
	s.begin()
	s.frames(gate, 5)
	s.captured(5)
	ack, err := s.client.Stop(t.Context(), bus.StopRequest{})
	if err != nil || ack.Captured != 5 {
		t.Errorf("%+v, %v", ack, err)
	}
	st := s.inState(bus.StateDraining)
	if st.InFlight != 5 || st.Reason != "ended by stop" {
		t.Errorf("status %+v", st)
	}
	_, err = s.client.Pause(t.Context(), bus.RunRequest{})
	wantCode(t, err, exit.Usage, "there is nothing to pause")
	_, err = s.client.Stop(t.Context(), bus.StopRequest{}) // once more does no harm
	if err != nil {
		t.Error(err)
	}
	w.Answer(frames.Durable)
	sum := s.wait()
	s.expect(sum, run.EndedStop, 5, 5, 0)
	if sum.DrainSeconds <= 0 || sum.Seconds < sum.DrainSeconds {
		t.Errorf("summary %+v", sum)
	}
	st = s.inState(bus.StateIdle)
	if st.LastRun == nil || st.LastRun.Run != sum.Run || !strings.Contains(st.Reason, "ended by stop") {
		t.Errorf("status %+v", st)
	}
}

// TestHardStop: what is not durable is ledgered as stopped, whatever state the run is in.
func TestHardStop(t *testing.T) {
	for _, state := range []bus.State{bus.StateRunning, bus.StatePaused, bus.StateDraining} {
		t.Run(string(state), func(t *testing.T) {
			s := newStation(t)
			script := cameratest.Script{Frames: cameratest.Sequence(5, 0), End: cameratest.Stalls}
			captured := uint64(5)
			switch state {
			case bus.StatePaused:
				script.Frames, captured = cameratest.Sequence(20, 0), 8
			case bus.StateDraining:
				script.End = cameratest.Ends
			}
			s.fake(script)
			s.start(tight, "--source=fake:")
			w := s.writer("w1", true)
			s.begin()
			s.captured(captured)
			s.inState(state)
			s.until("the writer has all", func() bool { return uint64(len(w.Held())) == captured })
			if _, err := s.client.Stop(t.Context(), bus.StopRequest{Hard: true}); err != nil {
				t.Fatal(err)
			}
			s.until("frames are given up", func() bool { return len(w.Losses()) >= 2 })
			w.Answer(frames.Stopped)
			sum := s.wait()
			s.expect(sum, run.EndedHard, captured, 0, 130)
			if sum.LostByReason["stopped"] != captured {
				t.Errorf("summary %+v", sum)
			}
		})
	}
}

// TestDrainTimeout: when nothing moves for too long the rest is given up, and where nobody ledgers it the slab stays.
func TestDrainTimeout(t *testing.T) {
	s := newStation(t)
	s.fake(cameratest.Script{Frames: cameratest.Sequence(3, 0)})
	s.start(tight, "--source=fake:", "--drain-timeout=200ms")
	w := s.writer("w1", true)
	s.begin()
	s.until("frames are given up", func() bool { return len(w.Losses()) >= 1 })
	w.Answer(frames.Stopped)
	sum := s.wait()
	s.expect(sum, run.EndedDeadline, 3, 0, 3)
	if len(sum.Warnings) != 1 || !strings.Contains(sum.Warnings[0], "nothing moved for 200ms") {
		t.Errorf("warnings %q", sum.Warnings)
	}
}

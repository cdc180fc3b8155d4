package capture

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
)

// TestKilledBeforeTheFirstFrame: a run that was armed waits for its start again, one that was started goes on; each is the
// same run, in the same store.
func TestKilledBeforeTheFirstFrame(t *testing.T) {
	for _, started := range []bool{false, true} {
		s := newStation(t)
		source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
		kill := s.victim(victimSpec{setup: setup{Args: []string{source, "--budget=4MiB", "--frames=3"}}, Arm: true})
		s.writer("w1", false)
		before := s.remote("it is armed", func(st bus.Status) bool { return st.State == bus.StateWaiting })
		kill()
		if started {
			s.begun()
		}
		s.startWith(setup{Args: []string{source}, Restarts: 1, Continue: true})
		if goesOn, err := s.Resumed(t.Context()); err != nil || goesOn != started {
			t.Errorf("started %v: it goes on by itself: %v, %v", started, goesOn, err)
		}
		if !started {
			if st := s.inState(bus.StateWaiting); st.Run != before.Run || st.Store != before.Store || st.Frames != 3 || st.Captured != 0 {
				t.Errorf("%+v, before %+v", st, before)
			}
			if ack, err := s.client.Start(t.Context(), bus.RunRequest{Run: before.Run}); err != nil || ack.Run != before.Run {
				t.Errorf("%+v, %v", ack, err)
			}
		}
		sum := s.wait()
		s.expect(sum, run.EndedFrames, 3, 3, 0)
		if sum.Run != before.Run || sum.Store != before.Store {
			t.Errorf("started %v: %+v, before %+v", started, sum, before)
		}
	}
}

// begun makes of a killed acquire's armed run one that was killed just after its start.
func (s *station) begun() {
	s.t.Helper()
	left, err := slab.Abandoned(s.dir, "cam0")
	if err != nil || len(left) != 1 || left[0].Phase != slab.Armed {
		s.t.Fatalf("slabs %+v, %v", left, err)
	}
	sl, err := slab.Resume(left[0].Path)
	if err != nil {
		s.t.Fatal(err)
	}
	sl.SetPhase(slab.Capturing)
	if err := sl.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// TestNotIdleBeforeItHasLooked: an acquire that may have a run to take up does not say that there is none.
func TestNotIdleBeforeItHasLooked(t *testing.T) {
	s := newStation(t)
	a, err := newAcquire(s.srv.Connect("acquire"), setup{Dir: s.dir, Args: []string{small}}, s.open)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := a.Status(t.Context(), bus.RunRequest{}); err != nil || st.State != bus.StateArming {
		t.Errorf("state %s, %v", st.State, err)
	}
	a.takeUp(t.Context())
	s.until("it is idle", func() bool {
		st, err := a.Status(t.Context(), bus.RunRequest{})
		return err == nil && st.State == bus.StateIdle
	})
	if err := a.close(); err != nil {
		t.Error(err)
	}
}

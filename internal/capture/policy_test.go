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

// tight is a budget of 10 slots, 8 beside the reserve: full at 8, throttled above 6, open at 4.
const tight = "--budget=40KiB"

// pushes are the transitions of the budget so far.
func (s *station) pushes() []bus.Backpressure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.backpressure)
}

// TestPause: a camera that can stop stops when the budget is full and goes on at the low watermark; nothing is lost,
// and each change is on the subject with bytes and holder.
func TestPause(t *testing.T) {
	s := newStation(t)
	fake := s.fake(cameratest.Script{Frames: cameratest.Sequence(20, 0)})
	s.start(tight, "--source=fake:")
	w := s.writer("w1", true)
	s.begin()
	st := s.inState(bus.StatePaused)
	if st.Reason != "the budget is full" || st.Captured != 8 || st.InFlight != 8 || st.Durable != 0 {
		t.Errorf("status %+v", st)
	}
	if b := st.Budget; b.State != bus.BudgetFull || b.Bytes < 8*4096 || b.Limit != 10*4096 || b.Holder != "writer" {
		t.Errorf("budget %+v", b)
	}
	s.until("the writer has all", func() bool { return len(w.Held()) == 8 })
	w.Step(3)
	s.until("three are durable", func() bool { st, _ = s.Status(t.Context(), bus.RunRequest{}); return st.Durable == 3 })
	if st.State != bus.StatePaused || fake.Resumes() != 0 || st.Captured != 8 {
		t.Errorf("state %s at 5 of 8 slots, %d resumes, captured %d", st.State, fake.Resumes(), st.Captured)
	}
	w.Step(1)
	s.until("the camera goes on to the limit", func() bool { return fake.Pauses() == 2 })
	if fake.Resumes() != 1 {
		t.Errorf("%d resumes", fake.Resumes())
	}
	w.Answer(frames.Durable)
	sum := s.wait()
	s.expect(sum, run.EndedSource, 20, 20, 0)
	if fake.Pauses() != fake.Resumes() {
		t.Errorf("%d pauses, %d resumes", fake.Pauses(), fake.Resumes())
	}
	if sum.PausedSeconds <= 0 || sum.ThrottledSeconds <= 0 || sum.PeakBudgetBytes != 8*4096 && sum.PeakBudgetBytes != 9*4096 || sum.BudgetBytes != 10*4096 {
		t.Errorf("summary %+v", sum)
	}
	s.await(bus.EventFinished, 1)
	paused, resumed := s.told(bus.EventPaused), s.told(bus.EventResumed)
	if len(paused) != len(resumed) || uint64(len(paused)) != fake.Pauses() || paused[0].Seq != 8 || resumed[0].Seq != 8 {
		t.Errorf("%d pauses and %d resumes were told: %+v, %+v", len(paused), len(resumed), paused, resumed)
	}
	total := 0.0
	for _, e := range resumed {
		total += float64(e.PausedNS) / 1e9
	}
	if d := total - sum.PausedSeconds; d > 1e-6 || d < -1e-6 {
		t.Errorf("the events add up to %v s paused, the summary has %v", total, sum.PausedSeconds)
	}
	push := s.pushes()
	type change struct {
		from, to bus.BudgetState
		bytes    int64
		seq      uint64
		action   string
	}
	for i, want := range []change{
		{bus.BudgetOpen, bus.BudgetThrottled, 7 * 4096, 6, ""},
		{bus.BudgetThrottled, bus.BudgetFull, 8 * 4096, 7, "pause"},
		{bus.BudgetFull, bus.BudgetOpen, 4 * 4096, 8, "resume"},
	} {
		p := push[i]
		if got := (change{p.From, p.To, p.Bytes, p.Seq, p.Action}); got != want || p.Limit != 8*4096 || p.N != uint64(i+1) || p.Run != sum.Run || p.Holder != "writer" {
			t.Errorf("transition %d: %+v, want %+v", i, p, want)
		}
	}
}

// gated is a free-running camera whose frames come when the test says.
func (s *station) gated(n int, change func(*cameratest.Script)) chan<- struct{} {
	gate := make(chan struct{})
	script := cameratest.Script{Frames: cameratest.Sequence(n, 0), Free: true, Gate: gate, IDBits: 16}
	if change != nil {
		change(&script)
	}
	s.fake(script)
	return gate
}

// frames lets n frames come. The camera asks for one when it is done with the one before.
func (s *station) frames(gate chan<- struct{}, n int) {
	s.t.Helper()
	for range n {
		select {
		case gate <- struct{}{}:
		case <-time.After(10 * time.Second):
			s.t.Fatal("the camera is not asked for a frame")
		}
	}
}

// flow lets n frames come, each when the one before is durable.
func (s *station) flow(gate chan<- struct{}, n int) {
	s.t.Helper()
	for range n {
		s.until("nothing is in flight", func() bool {
			st, _ := s.Status(s.t.Context(), bus.RunRequest{})
			return st.InFlight == 0
		})
		s.frames(gate, 1)
	}
}

// captured waits until so many frames are captured, lost ones included.
func (s *station) captured(n uint64) bus.Status {
	s.t.Helper()
	var st bus.Status
	s.until("frames are captured", func() bool {
		st, _ = s.Status(s.t.Context(), bus.RunRequest{})
		return st.Captured >= n
	})
	if st.Captured != n {
		s.t.Fatalf("%d frames were captured, want %d", st.Captured, n)
	}
	return st
}

// TestFreeCameraPaused: what a camera that cannot stop makes while the run is paused is in the ledger as paused, from
// the full budget until it is open again.
func TestFreeCameraPaused(t *testing.T) {
	s := newStation(t)
	gate := s.gated(30, nil)
	s.start(tight, "--source=fake:", "--on-full=pause")
	w := s.writer("w1", true)
	s.begin()
	s.frames(gate, 8)
	s.captured(8)
	if st := s.inState(bus.StateRunning); st.Budget.State != bus.BudgetFull {
		t.Errorf("budget %+v", st.Budget)
	}
	s.frames(gate, 3)
	st := s.captured(11)
	if st.State != bus.StatePaused || st.Lost != 3 || st.LostByReason["paused"] != 3 || st.InFlight != 8 {
		t.Errorf("status %+v", st)
	}
	s.until("the writer has all", func() bool { return len(w.Held()) == 8 })
	w.Step(2) // not down to the low watermark
	s.until("two are durable", func() bool { return s.durable() == 2 })
	s.frames(gate, 1)
	if st := s.captured(12); st.LostByReason["paused"] != 4 {
		t.Errorf("status %+v", st)
	}
	w.Step(3)
	s.until("five are durable", func() bool { return s.durable() == 5 })
	s.frames(gate, 2)
	if st := s.captured(14); st.State != bus.StateRunning || st.LostByReason["paused"] != 4 {
		t.Errorf("status %+v", st)
	}
	w.Answer(frames.Durable)
	s.flow(gate, 16)
	sum := s.wait()
	s.expect(sum, run.EndedSource, 30, 26, 3)
	if got := losses(w); !slices.Equal(got, []frames.Loss{loss(8, 4, 8, frames.Paused, frames.AtAcquire)}) {
		t.Errorf("lost %+v", got)
	}
	if sum.LostByReason["paused"] != 4 || sum.PausedSeconds <= 0 {
		t.Errorf("summary %+v", sum)
	}
}

func (s *station) durable() uint64 {
	st, err := s.Status(s.t.Context(), bus.RunRequest{})
	if err != nil {
		s.t.Error(err)
	}
	return st.Durable
}

// TestFreeCameraAskedToPause: a user's pause is honoured with room in the budget too, and frames that the driver lost
// meanwhile count as paused as well.
func TestFreeCameraAskedToPause(t *testing.T) {
	s := newStation(t)
	s.check = anyPixels
	gate := s.gated(0, func(c *cameratest.Script) { c.Frames = without(cameratest.Sequence(20, 0), 6, 7) })
	s.start(tight, "--source=fake:")
	w := s.writer("w1", false)
	s.begin()
	s.frames(gate, 3)
	s.captured(3)
	if a, err := s.client.Pause(t.Context(), bus.RunRequest{}); err != nil || a.State != bus.StateRunning {
		t.Errorf("%+v, %v", a, err)
	}
	s.frames(gate, 4) // 3, 4, 5 and, after two that are missing, 8
	if st := s.captured(9); st.State != bus.StatePaused || st.Reason != "the camera cannot stop" {
		t.Errorf("status %+v", st)
	}
	if _, err := s.client.Resume(t.Context(), bus.RunRequest{}); err != nil {
		t.Error(err)
	}
	s.flow(gate, 11)
	s.expect(s.wait(), run.EndedSource, 20, 14, 3)
	want := []frames.Loss{
		loss(3, 3, 3, frames.Paused, frames.AtAcquire), loss(6, 2, 6, frames.Paused, frames.AtCamera), loss(8, 1, 8, frames.Paused, frames.AtAcquire),
	}
	if got := losses(w); !slices.Equal(got, want) {
		t.Errorf("lost %+v, want %+v", got, want)
	}
}

// TestDrop: frames for which there is no room are in the ledger one by one, the run goes on.
func TestDrop(t *testing.T) {
	for _, free := range []bool{true, false} {
		s := newStation(t)
		gate := s.gated(20, func(c *cameratest.Script) { c.Free = free })
		s.start(tight, "--source=fake:", "--on-full=drop")
		w := s.writer("w1", true)
		s.begin()
		s.frames(gate, 11)
		st := s.captured(11)
		if st.State != bus.StateRunning || st.LostByReason["dropped"] != 3 || st.InFlight != 8 {
			t.Errorf("status %+v", st)
		}
		s.until("the writer has all", func() bool { return len(w.Held()) == 8 })
		w.Step(1)
		s.until("one is durable", func() bool { return s.durable() == 1 })
		s.frames(gate, 2)
		if st := s.captured(13); st.LostByReason["dropped"] != 4 {
			t.Errorf("status %+v", st)
		}
		w.Answer(frames.Durable)
		s.until("all are durable", func() bool { return s.durable() == 9 })
		s.frames(gate, 7)
		sum := s.wait()
		s.expect(sum, run.EndedSource, 20, 16, 3)
		want := []frames.Loss{loss(8, 3, 8, frames.Dropped, frames.AtAcquire), loss(12, 1, 12, frames.Dropped, frames.AtAcquire)}
		if got := losses(w); !slices.Equal(got, want) {
			t.Errorf("free %v: lost %+v, want %+v", free, got, want)
		}
		if len(s.told(bus.EventPaused)) != 0 || sum.PausedSeconds != 0 {
			t.Error("paused")
		}
		if p := s.pushes()[1]; p.To != bus.BudgetFull || p.Action != "drop" {
			t.Errorf("transition %+v", p)
		}
		s.down()
	}
}

// TestFail: the run ends in order when there is no room, with everything captured durable. A free-running camera's
// frame that found none is in the ledger.
func TestFail(t *testing.T) {
	for free, captured := range map[bool]uint64{false: 8, true: 9} {
		s := newStation(t)
		s.fake(cameratest.Script{Frames: cameratest.Sequence(20, 0), Free: free, Buffers: 20})
		s.start(tight, "--source=fake:", "--on-full=fail")
		w := s.writer("w1", true)
		s.begin()
		s.inState(bus.StateDraining)
		w.Answer(frames.Durable)
		s.expect(s.wait(), run.EndedFull, captured, 8, map[bool]int{false: 6, true: 3}[free])
		s.down()
	}
}

// TestAnalysisDoesNotStopTheRun: a viewer that hangs holds nothing but the reserve.
func TestAnalysisDoesNotStopTheRun(t *testing.T) {
	s := newStation(t)
	s.fake(cameratest.Script{Frames: cameratest.Sequence(200, 0)})
	s.start(tight, "--source=fake:")
	s.writer("w1", false)
	a := s.viewer("a1")
	s.begin()
	s.until("all are durable", func() bool {
		st, _ := s.Status(t.Context(), bus.RunRequest{})
		return st.Durable == 200 || st.State == bus.StateIdle
	})
	a.Answer(frames.Durable)
	sum := s.wait()
	s.expect(sum, run.EndedSource, 200, 200, 0)
	// Its one frame may be taken back before it answers.
	if sum.Analyzed+sum.Skipped != 200 {
		t.Errorf("%d analysed and %d skipped", sum.Analyzed, sum.Skipped)
	}
}

package capture

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestTwice: a camera has one run at a time; the second is refused and the first unharmed.
func TestTwice(t *testing.T) {
	s := newStation(t)
	gate := s.gated(4, nil)
	s.start(small, "--source=fake:")
	s.writer("w1", false)
	armed, err := s.client.Arm(t.Context(), bus.ArmRequest{Meta: config.Meta{"sample": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if armed.Slots != 8 || armed.SlotBytes != 4096 || armed.Reserve != 2 || armed.BudgetBytes != 8*4096 || armed.OnFull != "drop" ||
		!slices.Equal(armed.Members, []string{"w1"}) || armed.Store != "/store/"+armed.Spec.Store || armed.Spec.Meta["sample"] != "x" {
		t.Errorf("armed %+v", armed)
	}
	_, err = s.client.Arm(t.Context(), bus.ArmRequest{})
	wantCode(t, err, exit.Usage, "camera cam0 is waiting (run "+armed.Spec.Run.Short()+"); one run at a time")
	_, err = s.client.Start(t.Context(), bus.RunRequest{Run: frames.NewRunID()})
	wantCode(t, err, exit.Usage, "is not the one that goes on")
	ack, err := s.client.Start(t.Context(), bus.RunRequest{Run: armed.Spec.Run})
	if err != nil || ack.State != bus.StateRunning || ack.Run != armed.Spec.Run {
		t.Fatalf("%+v, %v", ack, err)
	}
	_, err = s.client.Start(t.Context(), bus.RunRequest{})
	wantCode(t, err, exit.Usage, "camera cam0 is running (run "+armed.Spec.Run.Short()+"); one run at a time")
	_, err = s.client.Arm(t.Context(), bus.ArmRequest{})
	wantCode(t, err, exit.Usage, "one run at a time")
	for _, f := range []func() error{
		func() error {
			_, err := s.client.Pause(t.Context(), bus.RunRequest{Run: frames.NewRunID()})
			return err
		},
		func() error {
			_, err := s.client.Stop(t.Context(), bus.StopRequest{Run: frames.NewRunID()})
			return err
		},
	} {
		wantCode(t, f(), exit.Usage, "is not the one that goes on")
	}
	s.frames(gate, 4)
	s.expect(s.wait(), run.EndedSource, 4, 4, 0)
	s.inState(bus.StateIdle)

	_, err = s.client.Pause(t.Context(), bus.RunRequest{})
	wantCode(t, err, exit.Usage, "there is nothing to pause or resume")
	if ack, err := s.client.Stop(t.Context(), bus.StopRequest{}); err != nil || ack.State != bus.StateIdle {
		t.Errorf("stop of nothing: %+v, %v", ack, err)
	}
	// The next one can begin.
	*s.disk = *dispatchtest.NewDisk(4)
	s.fake(cameratest.Script{Frames: cameratest.Sequence(5, 0)})
	s.begin()
	s.expect(s.wait(), run.EndedSource, 5, 5, 0)
}

// TestArmAgain: who lost the answer to arm or start asks again and gets it, for the same run; another run is refused.
func TestArmAgain(t *testing.T) {
	s := newStation(t)
	gate := s.gated(2, nil)
	s.start("--budget=4MiB", "--source=fake:")
	s.writer("w1", false)
	id := frames.NewRunID()
	first, err := s.client.Arm(t.Context(), bus.ArmRequest{Run: id})
	if err != nil || first.Spec.Run != id {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := s.client.Arm(t.Context(), bus.ArmRequest{Run: id})
	if err != nil || again.Spec.Run != id || again.Spec.Store != first.Spec.Store || again.Store != first.Store || again.Slots != first.Slots {
		t.Errorf("again: %+v, %v; at first %+v", again, err, first)
	}
	_, err = s.client.Arm(t.Context(), bus.ArmRequest{Run: frames.NewRunID()})
	wantCode(t, err, exit.Usage, "one run at a time")
	for range 2 {
		if ack, err := s.client.Start(t.Context(), bus.RunRequest{Run: id}); err != nil || ack.Run != id || ack.State != bus.StateRunning {
			t.Errorf("start: %+v, %v", ack, err)
		}
	}
	if late, err := s.client.Arm(t.Context(), bus.ArmRequest{Run: id}); err != nil || late.Store != first.Store {
		t.Errorf("when it has begun: %+v, %v", late, err)
	}
	s.frames(gate, 2)
	s.expect(s.wait(), run.EndedSource, 2, 2, 0)
	_, err = s.client.Arm(t.Context(), bus.ArmRequest{Run: id})
	wantCode(t, err, exit.Usage, "run "+id.Short()+" is over")

	id = frames.NewRunID() // there is no second fake
	for range 2 {
		_, err = s.client.Arm(t.Context(), bus.ArmRequest{Run: id})
		wantCode(t, err, exit.Usage, "there is no fake")
	}
	s.await(bus.EventRefused, 1)
	if n := len(s.told(bus.EventRefused)); n != 1 {
		t.Errorf("%d armings were refused: the repeat was an arming of its own", n)
	}
}

// TestRefusals: each has its code and text, leaves nothing behind, and says so in an event.
func TestRefusals(t *testing.T) {
	big := cameratest.Script{Frames: cameratest.Sequence(3, 0), Geometry: frames.Geometry{Height: 64, Width: 64, Channels: 1, Dtype: frames.Uint8}}
	for _, c := range []struct {
		name   string
		args   []string
		arm    bus.ArmRequest
		script *cameratest.Script
		writer dispatchtest.Config
		code   int
		text   string
	}{
		{name: "no source", code: 2, text: "no source is named"},
		{name: "unknown source", args: []string{"--source=warp:9"}, code: 2, text: "warp"},
		{name: "budget for three frames", args: []string{"--source=fake:", "--budget=12KiB"}, script: &big, code: 2,
			text: "budget: 12KiB holds 3 frames of 64x64 uint8, which take 4KiB each; want at least 16KiB: two frames and a reserve of 2 for analysis"},
		{name: "budget of a byte", args: []string{"--source=fake:", "--budget=1"}, script: &big, code: 2, text: "budget: 1 holds 0 frames"},
		{name: "budget larger than memory", args: []string{"--source=fake:", "--budget=1PiB"}, script: &big, code: 2, text: "of memory that is free"},
		{name: "frames and duration", args: []string{"--source=fake:"}, arm: bus.ArmRequest{Frames: 1, Duration: bus.Duration(time.Second)}, code: 2, text: "together"},
		{name: "store is a path", args: []string{"--source=fake:"}, arm: bus.ArmRequest{Store: "../x"}, code: 2, text: "--store"},
		{name: "nobody there", args: []string{"--source=fake:"}, script: &big, code: 7, text: "a required group has no member: 0 of 1 writer processes have joined after 300ms"},
		{name: "store exists", args: []string{"--source=fake:"}, script: &big, writer: dispatchtest.Config{Refuse: "the store exists", Usage: true}, code: 2, text: "the store exists"},
		{name: "writer is broken", args: []string{"--source=fake:"}, script: &big, writer: dispatchtest.Config{Refuse: "no disk"}, code: 7, text: "run refused by w1: no disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStation(t)
			s.startWith(setup{Args: c.args, Join: 300 * time.Millisecond})
			var fake *cameratest.Fake
			if c.script != nil {
				fake = s.fake(*c.script)
			}
			if c.writer.Refuse != "" {
				s.refuser(c.writer)
			}
			_, err := s.client.Arm(t.Context(), c.arm)
			wantCode(t, err, c.code, c.text)
			if fake != nil && !fake.Closed() {
				t.Error("the camera is open")
			}
			if left, err := slab.List(s.dir); err != nil || len(left) != 0 {
				t.Errorf("slabs are left: %+v, %v", left, err)
			}
			if e := s.await(bus.EventRefused, 1); e.Code != c.code && c.writer.Refuse == "" {
				t.Errorf("event %+v", e)
			}
			st := s.inState(bus.StateIdle)
			if !strings.Contains(st.Reason, c.text) || len(st.Budget.Holder) != 0 || !st.Run.IsZero() {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func (s *station) refuser(c dispatchtest.Config) {
	s.t.Helper()
	c.Transport, c.Camera, c.Dir, c.Group, c.Name, c.Disk = link.NATS(s.srv.Connect("w1")), "cam0", s.dir, "writer", "w1", s.disk
	dispatchtest.Join(s.t, c)
	s.until("it joins", func() bool { return len(s.cfg.Dispatcher.Members()) == 1 })
}

// TestNoSharedMemory: where no slab can be made, the run is refused.
func TestNoSharedMemory(t *testing.T) {
	s := newStation(t)
	good := s.dir
	s.dir = good + "/nothing"
	s.start(small, "--source=fake:")
	s.dir = good
	fake := s.fake(cameratest.Script{})
	_, err := s.client.Arm(t.Context(), bus.ArmRequest{})
	wantCode(t, err, exit.Internal, "no such file")
	if !fake.Closed() {
		t.Error("the camera is open")
	}
	// Too little of it is the user's to mend.
	wantCode(t, coded(slab.Room(good, math.MaxInt64)), exit.Usage, "too little shared memory")
}

// TestHopeless: writers that cannot go on end the run, whose frames stay in the slab.
func TestHopeless(t *testing.T) {
	for full, want := range map[bool]string{true: run.EndedDiskFull, false: run.EndedWriter} {
		s := newStation(t)
		gate := s.gated(20, nil)
		s.start(tight, "--source=fake:")
		w := s.writer("w1", true)
		s.begin()
		s.frames(gate, 3)
		s.until("the writer has all", func() bool { return len(w.Held()) == 3 })
		w.Fail("no more", full)
		ctx, cancel := context.WithTimeout(t.Context(), dispatchtest.Patience)
		sum, err := s.Wait(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "no more") || sum.EndedBy != want {
			t.Errorf("%v; %+v", err, sum)
		}
		if st := s.inState(bus.StateFault); !strings.Contains(st.Reason, "no more") {
			t.Errorf("status %+v", st)
		}
		left, err := slab.List(s.dir)
		if err != nil || len(left) != 1 || left[0].Held != 3 || left[0].InUse || left[0].Phase != slab.Draining {
			t.Errorf("slabs %+v, %v", left, err)
		}
		s.down()
	}
}

// TestHopelessWithFullTable: the capture ends although the range that waits for the ledger will never get there.
func TestHopelessWithFullTable(t *testing.T) {
	s := newStation(t)
	fs := cameratest.Sequence(20000, 0)
	for i := range fs {
		fs[i].Incomplete = i%2 == 1 // each a range of its own, since the others are dropped
	}
	s.fake(cameratest.Script{Frames: fs, IDBits: 32, Free: true, Buffers: len(fs)})
	s.start(tight, "--source=fake:", "--on-full=drop")
	w := s.writer("w1", true)
	s.begin()
	s.until("the table is full", func() bool {
		st, _ := s.Status(t.Context(), bus.RunRequest{})
		return st.Captured >= 4096
	})
	w.Fail("no more", false)
	ctx, cancel := context.WithTimeout(t.Context(), dispatchtest.Patience)
	defer cancel()
	sum, err := s.Wait(ctx)
	if err == nil || errors.Is(err, ctx.Err()) || sum.EndedBy != run.EndedWriter {
		t.Errorf("%v; %+v", err, sum)
	}
}

// TestPauseAndResume: a user's pause of a camera that can stop, more than once and twice in a row.
func TestPauseAndResume(t *testing.T) {
	s := newStation(t)
	gate := make(chan struct{})
	fake := s.fake(cameratest.Script{Frames: cameratest.Sequence(9, 0), Gate: gate})
	s.start(tight, "--source=fake:")
	s.writer("w1", false)
	s.begin()
	ask := func(f func(context.Context, bus.RunRequest) (bus.Ack, error)) {
		t.Helper()
		if _, err := f(t.Context(), bus.RunRequest{}); err != nil {
			t.Error(err)
		}
	}
	s.frames(gate, 3)
	s.captured(3)
	left := 6
	for range 2 {
		ask(s.client.Pause)
		ask(s.client.Pause)
		s.until("it is paused", func() bool {
			select {
			case gate <- struct{}{}: // it had been asked for one more
				left--
			default:
			}
			st, _ := s.Status(t.Context(), bus.RunRequest{})
			return st.State == bus.StatePaused && st.Reason == "asked to"
		})
		for range 2 {
			if ack, err := s.client.Resume(t.Context(), bus.RunRequest{}); err != nil || ack.State != bus.StateRunning {
				t.Errorf("resumed: %+v, %v", ack, err)
			}
		}
		s.frames(gate, 1)
		left--
	}
	s.frames(gate, left)
	sum := s.wait()
	s.expect(sum, run.EndedSource, 9, 9, 0)
	if fake.Pauses() != 2 || fake.Resumes() != 2 {
		t.Errorf("%d pauses, %d resumes", fake.Pauses(), fake.Resumes())
	}
}

// TestStatus: the numbers of a run, as it is asked for and as it is published.
func TestStatus(t *testing.T) {
	s := newStation(t)
	gate := make(chan struct{})
	s.fake(cameratest.Script{Frames: without(cameratest.Sequence(20, 100), 3), FPS: 100, IDBits: 16, Gate: gate})
	s.check = anyPixels
	s.startWith(setup{Args: []string{tight, "--source=fake:", "--frames=20"}, Restarts: 3})
	w := s.writer("w1", true)
	s.begin()
	s.frames(gate, 6)
	s.captured(7)
	s.until("the writer has all", func() bool { return len(w.Held()) == 6 && len(w.Losses()) == 1 })
	w.Step(3) // 0 to 2: not a whole shard
	s.until("three are durable", func() bool { return s.durable() == 3 })
	st, err := s.client.Status(t.Context(), bus.RunRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st.State != bus.StateRunning || st.Captured != 7 || st.Durable != 3 || st.InFlight != 3 || st.Lost != 1 || st.LostByReason["missed"] != 1 ||
		st.ReadableUntilSeq != 0 || st.Frames != 20 || st.Restarts != 3 || st.Rate.Nominal != 100 || st.Source != "fake:" || st.Store == "" ||
		st.Geometry.Width != 4 || st.PID == 0 || st.Since.IsZero() {
		t.Errorf("status %+v", st)
	}
	if b := st.Budget; b.Limit != 10*4096 || b.Bytes < 3*4096 || b.Bytes > 6*4096 || b.Peak < 6*4096 || b.Holder != "writer" || b.State != bus.BudgetOpen {
		t.Errorf("budget %+v", b)
	}
	if len(st.Members) != 1 {
		t.Fatalf("members %+v", st.Members)
	}
	if m := st.Members[0]; m.Name != "w1" || m.Group != "writer" || m.Policy != "lossless" || m.State != "live" || !m.Primary || m.HeldFrames != 3 ||
		m.HeldBytes != 3*4096 || m.OldestUnreleasedNS <= 0 || m.Carrier != "shm" || m.Host != "h" || m.PID == 0 {
		t.Errorf("member %+v", m)
	}
	s.until("a status is published with rates", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.statuses, func(p bus.Status) bool {
			return p.Run == st.Run && p.Captured == 7 && p.Camera == "cam0" && p.Type == bus.TypeStatus
		})
	})
	w.Answer(frames.Durable)
	s.frames(gate, 13)
	s.expect(s.wait(), run.EndedFrames, 20, 19, 3)
}

// TestRates: frames a second between two statuses.
func TestRates(t *testing.T) {
	c := New(Config{Camera: "cam0"})
	se := &session{spec: run.Spec{FPS: 50, Geometry: frames.Geometry{Height: 1, Width: 10, Channels: 1, Dtype: frames.Uint8}}}
	c.rates = rates{at: time.Now().Add(-2 * time.Second), captured: 100, durable: 60}
	got := c.rate(se, dispatch.Account{Captured: 300, Durable: 100}, 1, true)
	near := func(a, b float64) bool { return math.Abs(a-b) < b/50 }
	if !near(got.Measured, 100) || !near(got.Durable, 20) || !near(got.BytesPerSecond, 1000) || got.Nominal != 50 {
		t.Errorf("rate %+v", got)
	}
	if again := c.rate(se, dispatch.Account{Captured: 900, Durable: 900}, 1, false); again != got {
		t.Errorf("rate %+v changed between two statuses: %+v", got, again)
	}
	// A run of half a second, armed ten seconds ago: nobody waits for the first interval.
	c.rates = rates{at: time.Now().Add(-10 * time.Second)}
	first := time.Now().Add(-time.Second / 2).UnixNano()
	if got := c.rate(se, dispatch.Account{Captured: 50, Durable: 25}, first, false); !near(got.Measured, 100) || !near(got.Durable, 50) {
		t.Errorf("before the first interval is over: %+v", got)
	}
}

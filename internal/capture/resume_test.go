package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// victim starts an acquire in a process of its own and returns what kills it, as kill -9 does.
func (s *station) victim(v victimSpec) (kill func()) {
	s.t.Helper()
	v.NATS, v.Dir, v.Required = s.srv.URL(), s.dir, 1
	v.Args = append([]string{"--shard-frames=4"}, v.Args...)
	spec, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), self)
	cmd.Env = append(os.Environ(), victimEnv+"="+string(spec))
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := false
	kill = func() {
		if !done {
			done = true
			if err := cmd.Process.Kill(); err != nil {
				s.t.Error(err)
			}
			_ = cmd.Wait() // it was killed
		}
	}
	s.t.Cleanup(kill)
	return kill
}

// simulated has the writers check the pixels of a sim: source, whose frame n is to be seq n.
func (s *station) simulated(uri string) string {
	s.t.Helper()
	p, size, err := sim.Expected(uri)
	if err != nil {
		s.t.Fatal(err)
	}
	s.check = func(o frames.Offer, pixels []byte) bool {
		want := make([]byte, size)
		p.Fill(want, o.Seq)
		return bytes.Equal(want, pixels)
	}
	return "--source=" + uri
}

// remote waits until the victim's status is as it should be.
func (s *station) remote(what string, ok func(bus.Status) bool) bus.Status {
	s.t.Helper()
	var st bus.Status
	s.until(what, func() bool {
		var err error
		st, err = s.client.Status(s.t.Context(), bus.RunRequest{})
		return err == nil && ok(st)
	})
	return st
}

// TestKilledAcquire: the run goes on where it was, with the right pixels, ids and times at every seq, by the options
// that it was armed with, whatever those of the new process are.
func TestKilledAcquire(t *testing.T) {
	for name, uri := range map[string]string{
		"plain":      "sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash&seed=7",
		"with gaps":  "sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash&missevery=3&incompleteevery=7&idbits=32",
		"ids from 1": "sim:?width=20&height=10&dtype=uint8&fps=400&pattern=counter&missevery=2&idbits=16&skipzero=true",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			kill := s.victim(victimSpec{setup: setup{Args: []string{s.simulated(uri), "--frames=800", "--on-full=pause", tight, "--meta=a=b"}}})
			w1 := s.writer("w1", false)
			s.remote("some are durable", func(st bus.Status) bool { return st.Durable >= 10 })
			w2 := s.writer("w2", true)
			st := s.remote("w2 holds some", func(bus.Status) bool { return len(w2.Held()) > 0 })
			kill()
			if len(w2.Held()) == 0 {
				t.Fatal("w2 holds nothing")
			}
			s.startWith(setup{Args: []string{"--source=fake:", "--frames=5", "--on-full=fail"}, Restarts: 1, Continue: true})
			if goes, err := s.Resumed(t.Context()); err != nil || !goes {
				t.Fatalf("resumed %v, %v", goes, err)
			}
			_, err := s.client.Start(t.Context(), bus.RunRequest{})
			wantCode(t, err, exit.Usage, "one run at a time")
			w2.Answer(frames.Durable)
			sum := s.wait()
			if sum.EndedBy != run.EndedFrames || sum.Captured != 800 || sum.Run != st.Run || sum.LostByReason["restarted"] != 0 || sum.Restarts != 1 || sum.Source != uri {
				t.Errorf("summary %+v", sum)
			}
			if len(sum.Warnings) != 1 || !strings.Contains(sum.Warnings[0], "acquire was away for") {
				t.Errorf("warnings %q", sum.Warnings)
			}
			if e := s.await(bus.EventResumed, 1); len(s.told(bus.EventArmed)) != 1 || e.Run != st.Run {
				t.Errorf("resumed with %+v, armed %d times", e, len(s.told(bus.EventArmed)))
			}
			s.checkContinuity(w1, w2)
			if st.Captured >= 800 {
				t.Error("the victim had captured all")
			}
		})
	}
}

// checkContinuity checks that frame ids follow seqs and that device times grow with them.
func (s *station) checkContinuity(ws ...*dispatchtest.Consumer) {
	s.t.Helper()
	offers := map[uint64]frames.Offer{}
	for _, w := range ws {
		for _, f := range w.Seen(frames.KindFrames) {
			offers[f.Seq] = f.Offer
		}
	}
	var last frames.Offer
	first := true
	for seq := range uint64(1000) {
		o, ok := offers[seq]
		if !ok {
			continue
		}
		if !first && (o.FrameID-last.FrameID != o.Seq-last.Seq || o.DeviceNS <= last.DeviceNS || o.HostNS < last.HostNS) {
			s.t.Errorf("frame %+v follows %+v", o, last)
		}
		first, last = false, o
	}
}

// TestKilledAcquireOfFreeCamera: what the camera made while nobody listened is one range, reason restarted.
func TestKilledAcquireOfFreeCamera(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=200&pattern=hash&free=true&ring=1000")
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, "--frames=400", "--budget=8MiB"}}})
	w := s.writer("w1", false)
	s.remote("some frames are durable", func(st bus.Status) bool { return st.Durable >= 20 })
	kill()
	s.startWith(setup{Args: []string{source}, Restarts: 1, Continue: true})
	sum := s.wait()
	if sum.EndedBy != run.EndedFrames || sum.Captured != 400 || sum.Lost == 0 || sum.LostByReason["restarted"] != sum.Lost || bus.ExitCode(sum) != exit.Lost {
		t.Errorf("summary %+v", sum)
	}
	got := losses(w)
	if len(got) != 1 || got[0].Reason != frames.Restarted || got[0].Stage != frames.AtAcquire || got[0].Count != sum.Lost || got[0].FirstFrameID != got[0].Seq || got[0].LastFrameID != got[0].End()-1 {
		t.Errorf("lost %+v", got)
	}
	s.checkContinuity(w)
	// The gap in the device's times is as long as that in the host's.
	var before, after frames.Offer
	for _, f := range w.Seen(frames.KindFrames) {
		switch {
		case f.Seq+1 == got[0].Seq:
			before = f.Offer
		case f.Seq == got[0].End():
			after = f.Offer
		}
	}
	if host, device := after.HostNS-before.HostNS, after.DeviceNS-before.DeviceNS; host != device || host < int64(100*time.Millisecond) {
		t.Errorf("a gap of %d ns by the host, of %d by the device", host, device)
	}
}

// TestOnlyDrained: without Continue a run that was capturing is drained and ends as interrupted; one that was draining
// ends as it would have. A request to arm comes after it.
func TestOnlyDrained(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		at   bus.State
		goOn bool
		want string
		code int
	}{
		{"capturing", []string{"--on-full=pause"}, bus.StatePaused, false, run.EndedInterrupted, 7},
		{"draining", []string{"--frames=6"}, bus.StateDraining, true, run.EndedFrames, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStation(t)
			source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
			kill := s.victim(victimSpec{setup: setup{Args: append([]string{source, tight}, c.args...)}})
			w := s.writer("w1", true)
			s.remote("it is so far", func(st bus.Status) bool { return st.State == c.at })
			kill()
			s.startWith(setup{Args: []string{"--source=fake:", small}, Restarts: 1, Continue: c.goOn})
			s.fake(cameratest.Script{Frames: cameratest.Sequence(3, 0)})
			armed := make(chan error, 1)
			go func() {
				_, err := s.client.Arm(t.Context(), bus.ArmRequest{})
				armed <- err
			}()
			s.inState(bus.StateDraining)
			select {
			case err := <-armed:
				t.Fatalf("armed during the drain: %v", err)
			default:
			}
			s.until("the writer has all again", func() bool { return len(w.Seen(frames.KindArmed)) == 2 && len(w.Held()) >= 6 })
			w.Answer(frames.Durable)
			if goes, err := s.Resumed(t.Context()); err != nil || goes != c.goOn {
				t.Errorf("resumed %v, %v", goes, err)
			}
			if err := <-armed; err != nil {
				t.Fatal(err)
			}
			st, _ := s.Status(t.Context(), bus.RunRequest{})
			sum := st.LastRun
			if st.State != bus.StateWaiting || sum == nil || sum.EndedBy != c.want || bus.ExitCode(*sum) != c.code || sum.Written != sum.Captured || sum.Captured < 6 {
				t.Errorf("state %s after %+v", st.State, sum)
			}
		})
	}
}

// TestCameraIsGone: a run whose camera cannot be had again is drained, and says why.
func TestCameraIsGone(t *testing.T) {
	s := newStation(t)
	clip := filepath.Join(t.TempDir(), "clip.y4m")
	frame := "FRAME\n" + strings.Repeat("x", 64)
	if err := os.WriteFile(clip, []byte("YUV4MPEG2 W8 H8 F100:1 Cmono\n"+strings.Repeat(frame, 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.check = func(_ frames.Offer, pixels []byte) bool { return len(pixels) == 64 && pixels[0] == 'x' }
	kill := s.victim(victimSpec{setup: setup{Args: []string{"--source=file:" + clip, small}}})
	w := s.writer("w1", true)
	s.remote("the budget is full", func(st bus.Status) bool { return st.State == bus.StatePaused })
	kill()
	if err := os.Remove(clip); err != nil {
		t.Fatal(err)
	}
	w.Answer(frames.Durable)
	s.startWith(setup{Restarts: 1, Continue: true})
	if goes, err := s.Resumed(t.Context()); err != nil || !goes {
		t.Errorf("resumed %v, %v", goes, err)
	}
	sum := s.wait()
	if sum.EndedBy != run.EndedInterrupted || sum.Captured != 6 || sum.Written != 6 || len(sum.Warnings) != 1 || !strings.Contains(sum.Warnings[0], "the camera cannot be had again") {
		t.Errorf("summary %+v", sum)
	}
}

// TestNobodyTakesItUp: without writers a run stays in its slab, and the next process finds it. One in which nothing
// happened is forgotten.
func TestNobodyTakesItUp(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, tight}}})
	w := s.writer("w1", true)
	s.remote("the budget is full", func(st bus.Status) bool { return st.State == bus.StatePaused })
	kill()
	w.Die()
	s.startWith(setup{Args: []string{source}, Restarts: 1, Continue: true, Join: 100 * time.Millisecond})
	_, err := s.Resumed(t.Context())
	wantCode(t, err, exit.Unavailable, "0 of 1 writer processes have joined")
	if st := s.inState(bus.StateFault); !strings.Contains(st.Reason, "0 of 1 writer") {
		t.Errorf("status %+v", st)
	}
	s.await(bus.EventFault, 1)
	s.down()

	s.startWith(setup{Args: []string{source}, Restarts: 1, Continue: true})
	s.inState(bus.StateArming) // waits for a writer
	s.end()
	<-s.ended
	s.down()
	left, err := slab.Abandoned(s.dir, "cam0")
	if err != nil || len(left) != 1 || left[0].Held != 8 || left[0].Phase != slab.Capturing {
		t.Fatalf("slabs %+v, %v", left, err)
	}

	s.startWith(setup{Continue: false})
	s.writer("w2", false)
	if sum := s.wait(); sum.Captured != 8 || sum.Written != 8 || sum.EndedBy != run.EndedInterrupted {
		t.Errorf("summary %+v", sum)
	}
}

// TestStopWhileTakenUp: a run that is asked to stop while its members come back is no run that is disarmed. It drains.
func TestStopWhileTakenUp(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, tight}}})
	w := s.writer("w1", true)
	st := s.remote("the budget is full", func(st bus.Status) bool { return st.State == bus.StatePaused })
	kill()
	w.Die()
	s.startWith(setup{Args: []string{source}, Restarts: 1, Continue: true})
	s.inState(bus.StateArming) // waits for a writer
	s.until("it has the run", func() bool {
		ack, err := s.client.Stop(t.Context(), bus.StopRequest{Run: st.Run})
		return err == nil && ack.State == bus.StateArming && ack.Run == st.Run
	})
	s.writer("w2", false)
	s.expect(s.wait(), run.EndedStop, 8, 8, 0)
}

// TestTwoAreLeft: of several runs the newest goes on, the others are drained before it.
func TestTwoAreLeft(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=400&pattern=hash")
	w := s.writer("w1", true)
	var ids []frames.RunID
	aside := dispatchtest.ShmDir(t)
	for range 2 {
		kill := s.victim(victimSpec{setup: setup{Args: []string{source, tight, "--frames=40"}}})
		ids = append(ids, s.remote("the budget is full", func(st bus.Status) bool {
			return st.State == bus.StatePaused && (len(ids) == 0 || st.Run != ids[0])
		}).Run)
		kill()
		files, err := filepath.Glob(filepath.Join(slab.UserDir(s.dir), "*.slab"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Rename(files[0], filepath.Join(aside, filepath.Base(files[0]))); err != nil {
			t.Fatal(err)
		}
	}
	// An armed run of a third one, in which nothing was captured.
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, tight}}, Arm: true})
	s.remote("it is armed", func(st bus.Status) bool { return st.State == bus.StateWaiting })
	kill()
	files, _ := filepath.Glob(filepath.Join(aside, "*.slab"))
	for _, f := range files {
		if err := os.Rename(f, filepath.Join(slab.UserDir(s.dir), filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	*s.disk = *dispatchtest.NewDisk(4)
	w.Answer(frames.Durable)
	s.startWith(setup{Restarts: 0, Continue: true})
	if goes, err := s.Resumed(t.Context()); err != nil || goes {
		t.Errorf("resumed %v, %v: the newest run had no frame", goes, err)
	}
	var done []frames.RunID
	s.await(bus.EventFinished, 2)
	for _, e := range s.told(bus.EventFinished) {
		if done = append(done, e.Run); e.Summary.EndedBy != run.EndedInterrupted || e.Summary.Captured != 8 {
			t.Errorf("ended with %+v", e.Summary)
		}
	}
	if !slices.Equal(done, ids) {
		t.Errorf("done were %v, left were %v", done, ids)
	}
	if left, err := slab.List(s.dir); err != nil || len(left) != 0 {
		t.Errorf("slabs are left: %+v, %v", left, err)
	}
}

// TestRemainingDuration: a resumed run has only what is left of its time.
func TestRemainingDuration(t *testing.T) {
	s := newStation(t)
	source := s.simulated("sim:?width=20&height=10&dtype=uint8&fps=100&pattern=hash")
	kill := s.victim(victimSpec{setup: setup{Args: []string{source, "--duration=1500ms", "--budget=8MiB"}}})
	s.writer("w1", false)
	st := s.remote("some frames are durable", func(st bus.Status) bool { return st.Durable >= 50 })
	kill()
	s.startWith(setup{Restarts: 1, Continue: true})
	if sum := s.wait(); sum.EndedBy != run.EndedDuration || sum.Run != st.Run || sum.Captured > 150 || sum.Captured <= st.Captured {
		t.Errorf("summary %+v", sum)
	}
}

// TestSpareOfResumed: a full slab leaves nothing for a reserve.
func TestSpareOfResumed(t *testing.T) {
	dir := dispatchtest.ShmDir(t)
	opts, err := options("--source=fake:")
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Camera: "cam0", ShmDir: dir, Defaults: opts})
	s := &session{c: c, opts: opts, cam: cameratest.NewFake(cameratest.Script{}).Camera()}
	s.info, s.opts.Budget = s.cam.Info(), 4*4096
	if err := s.prepare(frames.NewRunID()); err != nil {
		t.Fatal(err)
	}
	defer s.slab.Close()
	for seq := range uint64(3) {
		slot, _ := s.slab.Take()
		s.slab.Commit(slot, frames.Header{Seq: seq}, 1)
	}
	again, err := c.resumeSession(t.Context(), s.slab, false)
	if err != nil {
		t.Fatal(err)
	}
	if g := again.budget.Gauge(); again.spare != 1 || g.Limit != 3*4096 || g.State != backpressure.Open {
		t.Errorf("a reserve of %d, budget %+v", again.spare, g)
	}
}

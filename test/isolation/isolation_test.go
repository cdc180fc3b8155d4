package isolation_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// treatment is what an analyser has to bear. It is not the one that combines, but where that is said.
type treatment int

const (
	well            treatment = iota
	stopped                   // from the first frames to the end of the run, then woken
	slow                      // a tenth of the time, in slices of 20 ms
	woken                     // stopped until a frame was taken back, then woken, with all frames for itself
	combinerStopped           // stopped, for good
	combinerWoken             // stopped until a frame was taken back, then woken
)

func (t treatment) String() string {
	return [...]string{"well", "stopped", "slow", "woken", "combiner stopped", "combiner woken"}[t]
}

// combiner reports whether it is the one that combines.
func (t treatment) combiner() bool { return t == combinerStopped || t == combinerWoken }

// camera is what is recorded.
type camera struct {
	width, height int
	fps           float64
	frames        int // 0: until the treatment is over
	budget        string
	verify        bool // read the store back
}

func (c camera) source() string {
	return fmt.Sprintf("sim:?width=%d&height=%d&dtype=uint16&fps=%g&pattern=hash&free=true&ring=4096", c.width, c.height, c.fps)
}

// outcome is what a run was like.
type outcome struct {
	run.Summary
	p50, p99 time.Duration // capture → durable, of the one writer, over about the last ten seconds
	results  int           // of the treated analyser: spectra and samples, all checked
}

// TestIsolation records with an analyser that is well, stopped, slow or woken up. It must cost the writer nothing: the
// budget is never throttled, no frame is lost, and what the analyser has to say is true and says what it is made of.
// SLUICE_ISOLATION asks for so many pairs of runs at 60 % of what the disk takes instead.
func TestIsolation(t *testing.T) {
	if text := os.Getenv("SLUICE_ISOLATION"); text != "" {
		pairs, err := strconv.Atoi(text)
		if err != nil || pairs < 1 {
			t.Fatalf("SLUICE_ISOLATION=%s is no number of pairs", text)
		}
		paced(t, pairs)
		return
	}
	for _, how := range []treatment{well, stopped, slow, woken, combinerStopped, combinerWoken} {
		t.Run(strings.ReplaceAll(how.String(), " ", "-"), func(t *testing.T) {
			t.Parallel()
			// A few percent of what any machine takes, and a budget for all of it: nothing is throttled for want of time.
			out := record(t, how, camera{width: 256, height: 256, fps: 100, budget: "128MiB", verify: true})
			t.Logf("%s: capture → durable p50 %s, p99 %s; analysed %d, skipped %d; %d results checked",
				how, out.p50, out.p99, out.Analyzed, out.Skipped, out.results)
		})
	}
}

// record makes one run with the treatment and checks it.
func record(t *testing.T, how treatment, c camera) outcome {
	t.Helper()
	args := []string{"--source", c.source(), "--budget", c.budget, "--writers", "1", "--analyzers", "2", "--spectrum-every", "200ms", "--no-preview"}
	if c.frames > 0 {
		args = append(args, "--frames", strconv.Itoa(c.frames))
	}
	l := bin.StartLocal(t, "iso", args...)
	heard := listen(t, l)
	st, err := l.Await(t.Context(), func(st bus.Status) bool { return st.Durable > 0 })
	if err != nil {
		t.Fatalf("%v\n%+v", err, l.Wait(t))
	}
	victim := analyser(st, how.combiner())
	p := patient{t: t, run: l, heard: heard, victim: victim, other: analyser(st, !how.combiner()), paced: c.frames > 0}
	untold := p.treat(how)
	r := l.Wait(t)
	out := outcome{}
	if r.Code != 0 {
		t.Fatalf("%s: the run has ended with %d\n%s", how, r.Code, r.Stderr)
	}
	r.LastLine(t, &out.Summary)
	l.NothingLeft()
	if out.Lost != 0 || c.frames > 0 && out.Captured != uint64(c.frames) || out.Written != out.Captured || out.ThrottledSeconds != 0 {
		t.Errorf("%s: captured %d, written %d, lost %v, throttled for %g s", how, out.Captured, out.Written, out.LostByReason, out.ThrottledSeconds)
	}
	for _, b := range heard.backpressure.All() {
		t.Errorf("%s: the budget went %s → %s at %d of %d bytes, held by %s of %s", how, b.From, b.To, b.Bytes, b.Limit, b.HolderMember, b.Holder)
	}
	if out.Analyzed+out.Skipped != out.Captured {
		t.Errorf("%s: analysed %d and skipped %d are not the %d captured", how, out.Analyzed, out.Skipped, out.Captured)
	}
	if taken := heard.takenBack(victim.Name); how != well && how != slow && taken == 0 {
		t.Errorf("%s: %d frames were taken back from %s", how, taken, victim.Name)
	}
	out.results = heard.check(t, c, out.Summary, victim.Name, untold)
	out.p50, out.p99 = heard.latency()
	if c.verify {
		bin.Verify(t, out.Summary)
		programs.CheckFrames(t, out.Summary)
	}
	return out
}

// analyser is the one that combines, or the other one.
func analyser(st bus.Status, combiner bool) bus.Member {
	i := slices.IndexFunc(st.Members, func(m bus.Member) bool { return m.Group == "analyze" && m.Primary == combiner })
	return st.Members[i]
}

// patient is the analyser of a run that is treated.
type patient struct {
	t             *testing.T
	run           *programs.Local
	heard         *heard
	victim, other bus.Member
	paced         bool // the run ends by itself
}

// treat does what the treatment says, until it is over, and sees to it that the run ends. It returns how many frames the
// victim may have analysed without having been able to tell what it found: it is stopped when the run ends.
func (p patient) treat(how treatment) (untold uint64) {
	p.t.Helper()
	switch how {
	case well:
		p.end()
	case slow:
		ctx, cancel := context.WithCancel(p.t.Context())
		var g errgroup.Group
		g.Go(func() error { return pulse(ctx, p.victim.PID, 20*time.Millisecond, 180*time.Millisecond) })
		p.end()
		cancel()
		if err := g.Wait(); err != nil {
			p.t.Fatal(err)
		}
	case stopped, combinerStopped:
		p.stopWithFrame()
		p.takenBack() // from here on none of its frames counts as analysed
		if how == combinerStopped {
			p.end()
			break
		}
		st, err := p.run.Await(p.t.Context(), func(bus.Status) bool { return true })
		if err != nil {
			p.t.Fatal(err)
		}
		untold = st.Analyzed
		p.end()
		p.wake(p.victim)
	case woken:
		p.stopWithFrame()
		p.takenBack()
		p.stop(p.other)
		p.wake(p.victim)
		p.run.Poll(p.t, "results of who was woken", func() bool { return p.heard.results(p.victim.Name) >= 5 })
		p.wake(p.other)
		p.end()
	case combinerWoken:
		p.stopWithFrame()
		p.takenBack()
		p.wake(p.victim)
		p.end()
	}
	return untold
}

// stopWithFrame stops the victim and sees to it that it has a frame: the other one would take them all.
func (p patient) stopWithFrame() {
	p.t.Helper()
	p.stop(p.victim)
	p.stop(p.other)
	_, err := p.run.Await(p.t.Context(), func(st bus.Status) bool {
		return slices.ContainsFunc(st.Members, func(m bus.Member) bool { return m.Name == p.victim.Name && m.HeldBytes > 0 })
	})
	p.wake(p.other)
	if err != nil {
		p.t.Fatal(err)
	}
}

// takenBack waits until the victim has lost a frame.
func (p patient) takenBack() {
	p.t.Helper()
	p.run.Poll(p.t, "a frame that is taken back", func() bool { return p.heard.takenBack(p.victim.Name) > 0 })
}

// end waits for the end of the run, which it stops after some frames more unless it ends by itself.
func (p patient) end() {
	p.t.Helper()
	if !p.paced {
		st, err := p.run.Await(p.t.Context(), func(bus.Status) bool { return true })
		if err == nil {
			_, err = p.run.Await(p.t.Context(), func(now bus.Status) bool { return now.Durable > st.Durable+200 })
		}
		if err == nil {
			_, err = p.run.Client.Stop(p.t.Context(), bus.StopRequest{})
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	p.run.Poll(p.t, "the end of the run", p.heard.finished)
}

func (p patient) stop(m bus.Member) {
	p.t.Helper()
	p.t.Cleanup(func() { _ = syscall.Kill(m.PID, syscall.SIGCONT) }) // it has ended, unless the test failed
	if err := syscall.Kill(m.PID, syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
}

func (p patient) wake(m bus.Member) {
	p.t.Helper()
	if err := syscall.Kill(m.PID, syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
}

// pulse lets a process go on and stops it in turn until ctx ends, and then lets it go on.
func pulse(ctx context.Context, pid int, on, off time.Duration) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for going := false; ctx.Err() == nil; going = !going {
		sig, d := syscall.SIGSTOP, off
		if going {
			sig, d = syscall.SIGCONT, on
		}
		if err := syscall.Kill(pid, sig); err != nil {
			return err
		}
		timer.Reset(d)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return syscall.Kill(pid, syscall.SIGCONT)
}

// paced paces the camera at 60 % of what the same pipeline takes when nothing holds it back, and records interleaved
// pairs of runs: with an analyser that is well, and with one that is stopped or slow. What they do to the writer's
// latency is reported, not judged: it is the machine's as much as ours.
func paced(t *testing.T, pairs int) {
	t.Helper()
	c := camera{width: 2048, height: 2048, budget: "2GiB"}
	const seconds = 8
	free := bin.Record(t, 0, "--source", fmt.Sprintf("sim:?width=%d&height=%d&dtype=uint16&fps=0&pattern=hash", c.width, c.height),
		"--duration", "6s", "--budget", c.budget, "--writers", "1", "--analyzers", "2", "--force", "--camera", programs.NewStation(t, bin, "iso-free").Camera, "--out", t.TempDir())
	rate := float64(free.Bytes) / free.Seconds
	frameBytes := float64(c.width * c.height * 2)
	c.fps = math.Floor(0.6 * rate / frameBytes)
	c.frames = int(c.fps * seconds)
	t.Logf("unpaced %.0f MB/s; paced at %g frames/s = %.0f MB/s, %d frames a run", rate/1e6, c.fps, c.fps*frameBytes/1e6, c.frames)
	os.RemoveAll(free.Store)
	ratios := map[treatment][][2]float64{}
	for i := range pairs {
		for _, how := range []treatment{stopped, slow} {
			order := []treatment{well, how}
			if i%2 == 1 {
				slices.Reverse(order)
			}
			out := map[treatment]outcome{}
			for _, o := range order {
				out[o] = record(t, o, c)
				os.RemoveAll(out[o].Store)
				t.Logf("pair %d, %-8s capture → durable p50 %6.1f ms, p99 %6.1f ms; peak budget %4d MiB; analysed %d, skipped %d; %d results checked", i+1, o,
					out[o].p50.Seconds()*1e3, out[o].p99.Seconds()*1e3, out[o].PeakBudgetBytes>>20, out[o].Analyzed, out[o].Skipped, out[o].results)
			}
			ratios[how] = append(ratios[how], [2]float64{
				out[how].p50.Seconds() / out[well].p50.Seconds(), out[how].p99.Seconds() / out[well].p99.Seconds(),
			})
		}
	}
	for _, how := range []treatment{stopped, slow} {
		for i, name := range []string{"p50", "p99"} {
			var all []float64
			for _, r := range ratios[how] {
				all = append(all, r[i])
			}
			slices.Sort(all)
			n := len(all)
			t.Logf("%s against well: median ratio of %s %.2f (%.2f to %.2f)", how, name, (all[(n-1)/2]+all[n/2])/2, all[0], all[n-1])
		}
	}
}

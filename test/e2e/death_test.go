package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestKillWhileDraining kills a process when the camera has ended and the frames still wait for their writers.
func TestKillWhileDraining(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"acquire", "writer-1", "writer-2"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "drain-"+victim)
			r := s.start("--source", endless, "--frames", "200", "--budget", "64MiB", "--shard-frames", "16", "--writers", "2")
			st := s.durable(r, 50)
			writers := programs.Writers(st)
			s.freeze(writers...)
			st = s.await("the drain", r, func(st bus.Status) bool { return st.State == bus.StateDraining })
			pid := st.PID
			if victim != "acquire" {
				pid = programs.Member(st, victim).PID
			}
			s.kill(pid)
			for _, w := range writers {
				if w != pid {
					s.thaw(w)
				}
			}
			sum := s.end(r, 0)
			if sum.Captured != 200 || sum.Written != 200 || sum.Restarts != 1 {
				t.Errorf("captured %d, written %d, %d restarts; %d were in flight at the kill", sum.Captured, sum.Written, sum.Restarts, st.InFlight)
			}
			s.NothingLeft()
		})
	}
}

// TestKillEverything kills all processes of a run at once, as the kernel does when memory runs out. The frames that were
// on their way are in shared memory: the camera's next run writes them first.
func TestKillEverything(t *testing.T) {
	t.Parallel()
	s, r := local(t, "everything", "--source", endless, "--budget", "32MiB", "--shard-frames", "32", "--writers", "2")
	st := s.durable(r, 100)
	s.freeze(programs.Writers(st)...)
	st = s.await("frames in flight", r, func(st bus.Status) bool { return st.InFlight >= 20 })
	pids := append([]int{r.PID(), s.Endpoint().PID}, pidsOf(st)...)
	for _, pid := range pids {
		s.kill(pid)
	}
	<-r.Done()
	s.gone(pids...)
	report, code := verify(t, st.Store)
	if code != 4 || report.OK || report.Corrupt != 0 || report.Written+report.Recoverable < st.Durable {
		t.Errorf("verify after the kill: exit code %d, %+v; %d frames were durable", code, report, st.Durable)
	}

	next := s.end(s.Launch("--source", endless, "--frames", "10", "--budget", "32MiB"), 0)
	if next.Captured != 10 || next.Store == st.Store {
		t.Errorf("the next run: %+v", next)
	}
	report, code = verify(t, st.Store)
	if code != 0 || !report.OK || report.Lost != 0 || report.Captured < st.Captured {
		t.Errorf("verify after the next run: exit code %d, %+v; %d frames were captured", code, report, st.Captured)
	}
	programs.CheckFrames(t, run.Summary{Store: st.Store, Source: endless, Captured: report.Captured, Written: report.Written})
	s.NothingLeft()
}

// TestStopped stops a process that must not be stopped for long, without killing it, and lets it go on: nobody is taken
// for dead, and nothing is lost.
func TestStopped(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"acquire", "broker"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			s, r := local(t, "frozen-"+victim, append(killed, "--writers", "2", "--hung-after", "2s")...)
			st := s.durable(r, 100)
			pid := st.PID
			if victim == "broker" {
				pid = s.Endpoint().PID
			}
			news := programs.Listen[bus.MemberStatus](t, s.url, bus.StatusSubject(s.Camera))
			s.freeze(pid)
			if victim == "acquire" { // the members go on telling how they are
				told := map[string]int{}
				news.Wait(t, patience, "three seconds' news of each member", func(m bus.MemberStatus) bool {
					told[m.Process]++
					return told["writer-1"] > 3 && told["writer-2"] > 3 && told["analyze-1"] > 3
				})
			} else {
				s.poll("silence", r, func() bool {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					_, err := s.client.Status(ctx, bus.RunRequest{})
					return err != nil
				})
			}
			s.thaw(pid)
			sum := s.end(r, 0)
			if sum.Captured != 600 || sum.Written != 600 || sum.Restarts != 0 || len(s.lostMembers()) != 0 {
				t.Errorf("captured %d, written %d, %d restarts, lost members %q", sum.Captured, sum.Written, sum.Restarts, s.lostMembers())
			}
			s.NothingLeft()
		})
	}
}

// TestCameraEnds: a camera that fails or stalls ends the run, with everything that it has made in the store.
func TestCameraEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, key, by string }{
		{"fails", "&failat=150", run.EndedCamera},
		{"stalls", "&stallat=150", run.EndedStalled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "camera-"+c.name)
			sum := s.end(s.start("--source", endless+c.key, "--budget", "32MiB", "--stall-after", "700ms"), 6)
			if sum.Captured != 150 || sum.Written != 150 || sum.EndedBy != c.by || len(sum.Warnings) == 0 {
				t.Errorf("captured %d, written %d, ended by %s, warnings %q", sum.Captured, sum.Written, sum.EndedBy, sum.Warnings)
			}
			s.NothingLeft()
		})
	}
}

// TestInterruptedEarly interrupts a run before it has begun: nothing of it stays.
func TestInterruptedEarly(t *testing.T) {
	t.Parallel()
	s, r := local(t, "early", "--source", endless, "--budget", "32MiB", "--writers", "3")
	r.Signal(t, os.Interrupt)
	res := r.Wait(t)
	left, err := os.ReadDir(s.Out)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case res.Code == 130 && len(left) == 0 && strings.Contains(res.Stderr, "before the run began"):
	case res.Code == 0 && len(left) == 1: // it had begun
	default:
		t.Errorf("exit code %d, %d stores: %s", res.Code, len(left), res.Stderr)
	}
	s.NothingLeft()
}

package e2e_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// endless is a source of many small frames.
const endless = "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash"

// TestStop stops a run in the ways that a user has: each is a drain.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, camera string
		stop         func(*testing.T, *programs.Running)
	}{
		{"SIGINT", "int", func(t *testing.T, r *programs.Running) { r.Signal(t, os.Interrupt) }},
		{"SIGINT to the whole foreground group", "group", func(t *testing.T, r *programs.Running) { r.SignalGroup(t, syscall.SIGINT) }},
		{"SIGTERM", "term", func(t *testing.T, r *programs.Running) { r.Signal(t, syscall.SIGTERM) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, r := local(t, "stop-"+c.camera, "--source", endless, "--writers", "2", "--budget", "32MiB", "--shard-frames", "32")
			st := s.durable(r, 100)
			for _, pid := range append(pidsOf(st), s.Endpoint().PID) {
				if group, err := syscall.Getpgid(pid); err != nil || group == r.PID() {
					t.Errorf("process %d is in the group of sluice run (%v)", pid, err)
				}
			}
			c.stop(t, r)
			sum := s.end(r, 0)
			if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Captured < 100 || sum.Restarts != 0 {
				t.Errorf("ended by %s, captured %d, lost %d, %d restarts", sum.EndedBy, sum.Captured, sum.Lost, sum.Restarts)
			}
			s.NothingLeft()
			if e := s.Endpoint(); e.URL != "" {
				t.Errorf("the broker's file is left: %+v", e)
			}
		})
	}
}

// TestStopHard interrupts a second time while no writer moves: the run ends at once, and its store is unfinished but
// sound. The next run of the camera writes what was left, and ends as if nothing had been.
func TestStopHard(t *testing.T) {
	t.Parallel()
	s, r := local(t, "hard", "--source", endless, "--writers", "2", "--budget", "32MiB", "--shard-frames", "32")
	st := s.durable(r, 100)
	s.freeze(programs.Writers(st)...)
	s.await("frames in flight", r, func(st bus.Status) bool { return st.InFlight >= 20 })
	r.Signal(t, os.Interrupt)
	s.await("the drain", r, func(st bus.Status) bool { return st.State == bus.StateDraining })
	r.Signal(t, os.Interrupt)
	if res := r.Wait(t); res.Code != 130 {
		t.Fatalf("exit code %d, want 130\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	s.gone(pidsOf(st)...)
	report, code := verify(t, st.Store)
	if code != 4 || report.OK || report.Finished || report.Corrupt != 0 || report.Captured < 100 {
		t.Errorf("verify after a hard stop: exit code %d, %+v", code, report)
	}
	if durable := report.Written + report.Recoverable; durable < st.Durable {
		t.Errorf("%d frames are durable, %d were before the stop", durable, st.Durable)
	}

	next := s.end(s.Launch("--source", endless, "--frames", "10", "--budget", "32MiB"), 0)
	if next.Captured != 10 || next.Store == st.Store {
		t.Errorf("the next run: %+v", next)
	}
	report, code = verify(t, st.Store)
	if code != 0 || !report.OK || report.LostByReason[frames.Stopped.String()] != report.Lost {
		t.Errorf("verify after the next run: exit code %d, %+v", code, report)
	}
	t.Logf("after the hard stop and another run: captured %d, written %d, lost %v", report.Captured, report.Written, report.LostByReason)
	s.NothingLeft()
}

// pidsOf are the process ids of acquire and its members.
func pidsOf(st bus.Status) []int {
	pids := []int{st.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	return pids
}

// verify runs `sluice verify` on a store that may be unfinished.
func verify(t *testing.T, path string) (store.Report, int) {
	t.Helper()
	res := bin.Run(t, "sluice", "verify", path, "--json")
	var report store.Report
	res.LastLine(t, &report)
	return report, res.Code
}

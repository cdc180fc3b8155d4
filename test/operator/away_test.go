package operator_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
)

// pids are the processes of a run, the broker last.
func (s *station) pids(st bus.Status) []int {
	pids := []int{st.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	return append(pids, s.broker.PID)
}

// next records another run of the camera, which first completes what is left of the one before.
func (s *station) next() {
	s.t.Helper()
	r := s.sluice("run", "--json", "--camera", s.camera, "--out", s.out, "--frames", "10", "--budget", "32MiB",
		"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash")
	var sum run.Summary
	r.LastLine(s.t, &sum)
	if r.Code != 0 || sum.Written != 10 {
		s.t.Errorf("the next run: %+v", r)
	}
}

// complete checks that a store has every frame that was captured, durable or named, and how many are durable.
func (s *station) complete(st bus.Status) {
	s.t.Helper()
	var v struct {
		OK                      bool
		Captured, Written, Lost uint64
	}
	r := s.sluice("verify", st.Store, "--json")
	r.LastLine(s.t, &v)
	if r.Code != 0 || !v.OK || v.Captured < st.Captured || v.Written < st.Durable || v.Written+v.Lost != v.Captured {
		s.t.Errorf("verify: %+v; when it was stopped: captured %d, durable %d", v, st.Captured, st.Durable)
	}
}

// TestBrokerOutOfReach stops the broker for ten seconds: nothing is lost, nobody is given up, and the status tells.
func TestBrokerOutOfReach(t *testing.T) {
	s := record(t, "op-away")
	before := s.recorded()
	s.freeze(s.broker.PID)
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	<-timer.C
	s.thaw(s.broker.PID)
	st := s.await("more frames", func(st bus.Status) bool { return st.Captured > before.Captured+400 })
	for _, m := range st.Members {
		if m.State != "live" {
			t.Errorf("%s is %s", m.Name, m.State)
		}
	}
	s.interrupt()
	sum := s.end(0)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Restarts != 0 || sum.PausedSeconds == 0 {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
}

// TestBrokerStaysAway gives up a run whose broker does not answer for longer than the run allows: the code says so, and
// the next run of the camera writes what is in memory.
func TestBrokerStaysAway(t *testing.T) {
	s := record(t, "op-stays-away", "--drain-timeout", "3s")
	st := s.recorded()
	s.freeze(s.broker.PID)
	sum := s.end(7)
	if sum.Run != st.Run || sum.EndedBy != run.EndedInterrupted || sum.Captured < st.Captured || len(sum.Warnings) == 0 ||
		!strings.Contains(s.stderr.String(), "acquire has not answered for 3s") {
		t.Errorf("%+v\n%s", sum, s.stderr.String())
	}
	s.exited(s.pids(st)...)
	s.next()
	s.complete(st)
	s.gone()
}

// TestEverythingStopped interrupts a run of which no process moves, again and again: it ends in a bounded time, and its
// store can be completed.
func TestEverythingStopped(t *testing.T) {
	s := record(t, "op-all-stopped")
	st := s.await("everybody", func(st bus.Status) bool { return len(st.Members) == 3 && st.Durable > 50 })
	pids := s.pids(st)
	s.freeze(pids...)
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for ended := false; !ended; {
		s.interrupt()
		select {
		case <-ticker.C:
		case <-s.ended:
			ended = true
		case <-limit:
			s.thaw(pids...)
			t.Fatalf("it does not end\n%s", s.stderr.String())
		}
	}
	sum := s.end(130)
	if sum.Run != st.Run || sum.EndedBy != run.EndedHard || sum.Captured < st.Captured || len(sum.Warnings) == 0 ||
		!strings.Contains(s.stderr.String(), "sluice recover --discard-slab "+st.Store) {
		t.Errorf("%+v\n%s", sum, s.stderr.String())
	}
	s.exited(pids...)
	s.next()
	s.complete(st)
	s.gone()
}

// TestTwoInterruptsAtOnce is Ctrl-C twice within ten milliseconds: the kernel may make one of them. Whatever counts, the
// account is true.
func TestTwoInterruptsAtOnce(t *testing.T) {
	s := record(t, "op-twice")
	st := s.recorded()
	s.interrupt()
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	s.interrupt()
	<-s.ended
	code := s.cmd.ProcessState.ExitCode()
	if code != 0 && code != 130 {
		t.Fatalf("exit code %d\n%s", code, s.stderr.String())
	}
	sum := s.end(code)
	if code == 0 && (sum.EndedBy != run.EndedStop || sum.Lost != 0) || code == 130 && sum.EndedBy != run.EndedHard || sum.Run != st.Run {
		t.Errorf("exit code %d: %+v", code, sum)
	}
	if sum.Written+sum.Lost == sum.Captured {
		s.sound(sum)
	} else {
		s.next()
		s.complete(st)
	}
	s.gone()
}

// TestStopInAPause stops a paused run.
func TestStopInAPause(t *testing.T) {
	s := record(t, "op-pause")
	if r := s.sluice("ctl", s.camera, "pause"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "paused") {
		t.Errorf("pause: %+v", r)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	sum := s.end(0)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.PausedSeconds == 0 || !slices.Equal(sum.Warnings, []string{}) {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
}

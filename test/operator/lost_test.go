package operator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
)

// killEach kills every new process that pick finds in acquire's status, until the run ends or so many are dead.
func (s *station) killEach(most int, pick func(bus.Status) int) {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for dead := []int{0}; len(dead) <= most; {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		st, err := s.client.Status(ctx, bus.RunRequest{})
		cancel()
		if pid := pick(st); err == nil && !slices.Contains(dead, pid) {
			dead = append(dead, pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				s.t.Fatal(err)
			}
		}
		select {
		case <-ticker.C:
		case <-s.ended:
			return
		case <-limit:
			s.t.Fatalf("%d deaths after %s", len(dead)-1, patience)
		}
	}
}

// TestLastWriterIsLost kills the only writer until the supervisor gives it up: the run ends, and says why.
func TestLastWriterIsLost(t *testing.T) {
	s := record(t, "op-bereft", "--writers", "1")
	s.killEach(7, func(st bus.Status) int {
		for _, m := range st.Members {
			if m.Group == "writer" {
				return m.PID
			}
		}
		return 0
	})
	sum := s.end(7)
	if sum.EndedBy != run.EndedWriter || sum.Restarts != 6 || sum.Captured == 0 {
		t.Errorf("%+v", sum)
	}
	if !strings.Contains(s.stderr.String(), "sluice: every process of the group writer is lost") {
		t.Errorf("no reason:\n%s", s.stderr.String())
	}
	s.sluice("slabs", s.camera, "--rm", "--force") // what nobody could write
}

// TestKilledWhileArming kills acquire as soon as it answers, three times.
func TestKilledWhileArming(t *testing.T) {
	s := begin(t, "op-arming", "--frames", "200")
	s.killEach(3, func(st bus.Status) int { return st.PID })
	sum := s.end(0)
	if sum.Captured != 200 || sum.Written != 200 || sum.Restarts != 3 {
		t.Errorf("%+v\n%s", sum, s.stderr.String())
	}
	s.sound(sum)
	s.gone()
}

// TestStoppedAnalyserIsAWarning ends a run whose analyser does not move any more: what counts is that all is written.
func TestStoppedAnalyserIsAWarning(t *testing.T) {
	s := record(t, "op-stopped")
	st := s.await("analyser", func(st bus.Status) bool {
		return slices.ContainsFunc(st.Members, func(m bus.Member) bool { return m.Group == "analyze" })
	})
	for _, m := range st.Members {
		if m.Group == "analyze" {
			if err := syscall.Kill(m.PID, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.interrupt()
	sum := s.end(0)
	if sum.Lost != 0 || !slices.ContainsFunc(sum.Warnings, func(w string) bool { return strings.Contains(w, "was killed") }) {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
}

// TestBrokerKilledWhileArming kills the broker while acquire waits for a writer that does not move: the answer to arm is
// lost with it, and is asked for again.
func TestBrokerKilledWhileArming(t *testing.T) {
	s := begin(t, "op-arming-broker", "--frames", "200", "--writers", "1")
	st := s.await("the writer", func(st bus.Status) bool {
		return slices.ContainsFunc(st.Members, func(m bus.Member) bool { return m.Group == "writer" })
	})
	var writer int
	for _, m := range st.Members {
		if m.Group == "writer" {
			writer = m.PID
		}
	}
	s.freeze(writer)
	defer s.thaw(writer)
	state := s.await("arming", func(st bus.Status) bool { return st.State != bus.StateIdle }).State
	s.kill(s.broker.PID)
	s.await("acquire over a new broker", func(bus.Status) bool { return true })
	s.thaw(writer)
	sum := s.end(0)
	t.Logf("the broker was killed in the state %s", state)
	if sum.Captured != 200 || sum.Written != 200 || sum.Restarts != 1 {
		t.Errorf("%+v\n%s", sum, s.stderr.String())
	}
	s.sound(sum)
	s.gone()
}

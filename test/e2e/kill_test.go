package e2e_test

import (
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// killed are the options of the runs in which something is killed: about three seconds.
var killed = []string{
	"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash", "--frames", "600", "--budget", "32MiB", "--shard-frames", "32",
}

// TestKill kills one process with frames on their way to the disk: the run completes, and has every byte of every frame.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, camera string
		writers      string
		victim       func(bus.Status) int
	}{
		{"one of two writers", "writer", "2", func(st bus.Status) int { return programs.Member(st, "writer-2").PID }},
		{"the primary of two writers", "primary", "2", primary},
		{"the only writer", "only", "1", func(st bus.Status) int { return programs.Member(st, "writer-1").PID }},
		{"acquire", "acquire", "2", func(st bus.Status) int { return st.PID }},
		{"an analyser", "analyze", "2", func(st bus.Status) int { return programs.Member(st, "analyze-1").PID }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "kill-"+c.camera)
			r := s.start(append(killed, "--writers", c.writers, "--analyzers", "2")...)
			st := s.durable(r, 100)
			writers := programs.Writers(st)
			s.freeze(writers...)
			st = s.await("frames in flight", r, func(st bus.Status) bool { return st.InFlight >= 20 })
			victim := c.victim(st)
			s.kill(victim)
			for _, pid := range writers {
				if pid != victim {
					s.thaw(pid)
				}
			}
			sum := s.end(r, 0)
			if sum.Captured != 600 || sum.Written != 600 || sum.EndedBy != run.EndedFrames || sum.Restarts != 1 {
				t.Errorf("captured %d, written %d, ended by %s, %d restarts", sum.Captured, sum.Written, sum.EndedBy, sum.Restarts)
			}
			var want []string // acquire's own death is no member's
			for _, m := range st.Members {
				if m.PID == victim {
					want = append(want, m.Name)
				}
			}
			if lost := s.lostMembers(); !slices.Equal(lost, want) {
				t.Errorf("told as lost are %q, want %q", lost, want)
			}
			s.NothingLeft()
		})
	}
}

// lostMembers are the members that the events tell as lost.
func (s *station) lostMembers() (names []string) {
	for _, e := range s.events.All() {
		if e.Kind == bus.EventMemberLost {
			names = append(names, e.Member.Name)
		}
	}
	return names
}

// primary is the process id of the primary writer.
func primary(st bus.Status) int {
	for _, m := range st.Members {
		if m.Group == "writer" && m.Primary {
			return m.PID
		}
	}
	return 0
}

// TestKillAcquireOfFreeRunningCamera kills acquire while the camera goes on: what the camera made meanwhile is in the
// ledger, the frames that were captured before are in the store.
func TestKillAcquireOfFreeRunningCamera(t *testing.T) {
	t.Parallel()
	s := newStation(t, "kill-free")
	r := s.start("--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash&free=true&ring=1000", "--frames", "600",
		"--budget", "32MiB", "--shard-frames", "32", "--writers", "2")
	st := s.durable(r, 100)
	s.freeze(programs.Writers(st)...)
	st = s.await("frames in flight", r, func(st bus.Status) bool { return st.InFlight >= 20 })
	s.kill(st.PID)
	s.thaw(programs.Writers(st)...)
	sum := s.end(r, 3)
	if sum.Captured != 600 || sum.Lost == 0 || sum.LostByReason[frames.Restarted.String()] != sum.Lost || sum.Restarts != 1 {
		t.Errorf("captured %d, lost %v, %d restarts", sum.Captured, sum.LostByReason, sum.Restarts)
	}
	s.NothingLeft()
}

// TestKillBroker kills the run's own broker: it comes back where it was, and nothing is lost.
func TestKillBroker(t *testing.T) {
	t.Parallel()
	s, r := local(t, "kill-broker", append(killed, "--writers", "2", "--analyzers", "2")...)
	st := s.durable(r, 100)
	before := s.Endpoint()
	s.kill(before.PID)
	s.await("frames over the new broker", r, func(now bus.Status) bool { return now.Durable > st.Durable+50 })
	if after := s.Endpoint(); after.PID == before.PID || after.URL != before.URL || after.Password != before.Password || after.User != before.User {
		t.Errorf("the broker was process %d at %s, is process %d at %s, the same password: %t",
			before.PID, before.URL, after.PID, after.URL, before.Password == after.Password)
	}
	sum := s.end(r, 0)
	if sum.Captured != 600 || sum.Written != 600 || sum.Restarts != 1 {
		t.Errorf("captured %d, written %d, %d restarts", sum.Captured, sum.Written, sum.Restarts)
	}
	s.NothingLeft()
}

// TestKillRun kills sluice run itself: its children drain, complete the store and go, the broker last.
func TestKillRun(t *testing.T) {
	t.Parallel()
	s, r := local(t, "kill-run", "--source", endless, "--budget", "32MiB", "--shard-frames", "32", "--writers", "2", "--analyzers", "2")
	st := s.durable(r, 100)
	server := s.Endpoint().PID
	s.kill(r.PID())
	<-r.Done()
	s.gone(pidsOf(st)...)
	s.nc.Close() // the broker waits for its last client
	s.events.Close()
	s.backpressure.Close()
	s.status.Close()
	s.gone(server)
	report, code := verify(t, st.Store)
	if code != 0 || !report.OK || report.Lost != 0 || report.Written < st.Durable {
		t.Errorf("exit code %d, %+v; %d frames were durable before", code, report, st.Durable)
	}
	s.NothingLeft()
}

package disk_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/disk/faults"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestSlow has a disk take its time: it shows as backpressure of the writers and as their latency, nobody is taken for
// hung or dead, no shard changes hands, and nothing is lost.
func TestSlow(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		op      string
		delay   time.Duration
		writers int
		latency func(*bus.WriterStatus) int64
	}{
		{"write", 200 * time.Millisecond, 1, func(w *bus.WriterStatus) int64 { return w.DurableP50NS }},
		{"write", 2 * time.Second, 1, func(w *bus.WriterStatus) int64 { return w.DurableP50NS }},
		{"write", time.Second, 2, func(w *bus.WriterStatus) int64 { return w.DurableP99NS }},
		{"fdatasync", 600 * time.Millisecond, 1, func(w *bus.WriterStatus) int64 { return w.SyncP99NS }},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("slow-%d", i), faults.Rule{Op: c.op, Path: ".data", Delay: c.delay})
			// Two megabytes are an eighth of a second: every delay fills them.
			r := s.start("--source", "sim:?width=256&height=256&dtype=uint16&fps=120&pattern=hash", "--frames", "240",
				"--budget", "2MiB", "--shard-frames", "8", "--writers", fmt.Sprint(c.writers))
			s.members.Wait(t, patience, "the latency in a writer's status", func(m bus.MemberStatus) bool {
				return m.Writer != nil && c.latency(m.Writer) >= int64(c.delay)
			})
			s.survived(r, 240)
		})
	}
}

// TestNoAnswer has a disk not answer at all for eight seconds, longer than a member may be silent.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for _, writers := range []int{1, 2} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("silent-%d", writers))
			r := s.start("--source", "sim:?width=256&height=256&dtype=uint16&fps=120&pattern=hash", "--frames", "600",
				"--budget", "2MiB", "--shard-frames", "8", "--writers", fmt.Sprint(writers))
			s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= 60 })
			s.rules(faults.Rule{Delay: 8 * time.Second})
			// All that the budget holds waits: one frame in a hundred shows in the percentile.
			s.await("a full budget", r, func(st bus.Status) bool { return st.Budget.State == bus.BudgetFull })
			s.rules()
			s.await("a frame that waits for long", r, func(st bus.Status) bool {
				return slices.ContainsFunc(st.Members, func(m bus.Member) bool { return m.OldestUnreleasedNS > int64(5*time.Second) && m.State == "live" })
			})
			s.members.Wait(t, patience, "the latency in a writer's status", func(m bus.MemberStatus) bool {
				return m.Writer != nil && m.Writer.DurableP99NS >= int64(7*time.Second)
			})
			s.survived(r, 600)
		})
	}
}

// survived checks the end of a run on a slow disk.
func (s *station) survived(r *programs.Running, n uint64) {
	s.t.Helper()
	sum, _ := s.end(r, 0)
	if sum.Written != n || sum.Restarts != 0 || sum.ThrottledSeconds <= 0 || sum.PausedSeconds <= 0 {
		s.t.Errorf("written %d, %d restarts, throttled %g s, paused %g s", sum.Written, sum.Restarts, sum.ThrottledSeconds, sum.PausedSeconds)
	}
	s.sound(sum)
	s.NothingLeft()
	s.blamed(bus.BudgetFull)
	for _, k := range []bus.Kind{bus.EventMemberHung, bus.EventMemberLost, bus.EventMemberRestarted, bus.EventFramesLost, bus.EventFault} {
		if s.told(k) {
			s.t.Errorf("there is an event %s among %v", k, s.kinds())
		}
	}
	s.noTakeover()
}

// blamed checks that a transition to the state names the writers as those that hold the most.
func (s *station) blamed(state bus.BudgetState) {
	s.t.Helper()
	for _, b := range s.backpressure.All() {
		if b.To == state && b.Holder == "writer" {
			return
		}
	}
	s.t.Errorf("no transition to %s names the writers: %+v", state, s.backpressure.All())
}

var dataName = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.data$`)

// noTakeover checks that every shard was written under one epoch.
func (s *station) noTakeover() {
	s.t.Helper()
	epochs := map[string]string{}
	for _, d := range s.done() {
		name := dataName.FindStringSubmatch(filepath.Base(d.Path))
		if name == nil {
			continue
		}
		if e, ok := epochs[name[1]]; ok && e != name[2] {
			s.t.Errorf("shard %s has the epochs %s and %s", name[1], e, name[2])
		}
		epochs[name[1]] = name[2]
	}
	if len(epochs) == 0 {
		s.t.Error("no shard was written")
	}
}

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// What the processes may have of anonymous memory, whatever the frames.
const (
	acquireMost = 64 << 20
	memberMost  = 128 << 20
)

// TestBudgetFull stops the only writer until the budget is full, and lets it go on: each policy does what it says, and
// the memory stays within the budget and the processes' own limits.
func TestBudgetFull(t *testing.T) {
	t.Parallel()
	const budget, frameBytes = 64 << 20, 512 * 512 * 2
	for _, c := range []struct {
		name   string
		camera string
		source string // what is added to the source
		args   []string
		code   int
		action string
		more   uint64 // frames that come while the budget is full
		check  func(*testing.T, run.Summary)
	}{
		{name: "pause", camera: "pause", action: "pause", check: func(t *testing.T, s run.Summary) {
			if s.Lost != 0 || s.Captured != 800 || s.PausedSeconds <= 0 {
				t.Errorf("captured %d, lost %v, paused for %g s", s.Captured, s.LostByReason, s.PausedSeconds)
			}
		}},
		{name: "drop", camera: "drop", args: []string{"--on-full", "drop"}, code: 3, action: "drop", more: 100, check: func(t *testing.T, s run.Summary) {
			if s.Lost < 100 || s.LostByReason[frames.Dropped.String()] != s.Lost || s.Captured != 800 {
				t.Errorf("captured %d, lost %v", s.Captured, s.LostByReason)
			}
		}},
		{name: "fail", camera: "fail", args: []string{"--on-full", "fail"}, code: 6, action: "fail", check: func(t *testing.T, s run.Summary) {
			if s.Lost != 0 || s.EndedBy != run.EndedFull || s.Captured == 800 {
				t.Errorf("captured %d, lost %v, ended by %s", s.Captured, s.LostByReason, s.EndedBy)
			}
		}},
		{name: "free-running pause", camera: "free", source: "&free=true", args: []string{"--on-full", "pause"}, code: 3, action: "pause", more: 100,
			check: func(t *testing.T, s run.Summary) {
				if s.LostByReason[frames.Paused.String()] < 100 || s.Captured != 800 || s.PausedSeconds <= 0 {
					t.Errorf("captured %d, lost %v, paused for %g s", s.Captured, s.LostByReason, s.PausedSeconds)
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "full-"+c.camera)
			r := s.start(append(c.args, "--source", "sim:?width=512&height=512&dtype=uint16&fps=200&pattern=hash"+c.source,
				"--frames", "800", "--budget", "64MiB", "--shard-frames", "64")...)
			st := s.durable(r, 20)
			writer := programs.Writers(st)
			began := len(s.backpressure.All())
			s.freeze(writer...)

			full := s.backpressure.Wait(t, patience, "a full budget", func(b bus.Backpressure) bool { return b.To == bus.BudgetFull })
			s.memory(st)
			if c.more > 0 {
				s.await("more frames", r, func(st bus.Status) bool { return st.Captured > full.Seq+c.more })
				s.memory(st)
			}
			if c.name == "pause" {
				s.await("the writer counts as hung", r, func(st bus.Status) bool { return programs.Member(st, "writer-1").State == "hung" })
				s.memory(st)
			}
			s.thaw(writer...)
			sum := s.end(r, c.code)
			s.NothingLeft()

			c.check(t, sum)
			if sum.BudgetBytes != budget || sum.PeakBudgetBytes > budget || sum.PeakBudgetBytes < budget-3*frameBytes || sum.ThrottledSeconds <= 0 {
				t.Errorf("budget %d, peak %d, throttled for %g s", sum.BudgetBytes, sum.PeakBudgetBytes, sum.ThrottledSeconds)
			}
			s.checkTransitions(began, c.action)
			t.Logf("captured %d, written %d, lost %v; %d transitions", sum.Captured, sum.Written, sum.LostByReason, len(s.backpressure.All()))
		})
	}
}

// checkTransitions checks the transitions of the budget: numbered without a gap, each from where the last one went,
// with the bytes that belong to it, and after the first ones of them open → throttled → full → open, held by the writer.
func (s *station) checkTransitions(first int, action string) {
	s.t.Helper()
	all := s.backpressure.All()
	state := bus.BudgetOpen
	for i, b := range all {
		low, high := int64(0), b.Limit/2 // open: at most the low watermark
		switch b.To {
		case bus.BudgetThrottled:
			low, high = b.Limit*3/4, b.Limit
		case bus.BudgetFull:
			low, high = b.Limit, b.Limit
		}
		if b.N != uint64(i+1) || b.From != state || b.Bytes < low || b.Bytes > high || b.Limit > 64<<20 || b.Limit < 62<<20 {
			s.t.Errorf("transition %d: n %d, %s → %s at %d of %d bytes", i, b.N, b.From, b.To, b.Bytes, b.Limit)
		}
		state = b.To
	}
	want := []bus.BudgetState{bus.BudgetThrottled, bus.BudgetFull, bus.BudgetOpen}
	if len(all) < first+len(want) {
		s.t.Fatalf("%d transitions after the first %d", len(all)-first, first)
	}
	for i, b := range all[first : first+len(want)] {
		if b.To != want[i] || i < 2 && b.Holder != "writer" || b.To == bus.BudgetFull && b.Action != action {
			s.t.Errorf("after the writer was stopped: %d: → %s, held by %q, action %q; want %s", i, b.To, b.Holder, b.Action, want[i])
		}
	}
}

// memory checks the anonymous memory of all processes.
func (s *station) memory(st bus.Status) {
	s.t.Helper()
	most := map[string]int64{}
	check := func(name string, pid int, limit int64) {
		n := anonymous(s.t, pid)
		if n >= limit {
			s.t.Errorf("%s has %d bytes of anonymous memory, more than %d", name, n, limit)
		}
		most[name] = n >> 20
	}
	check("acquire", st.PID, acquireMost)
	for _, m := range st.Members {
		check(m.Name, m.PID, memberMost)
	}
	s.t.Logf("anonymous memory in MiB: %s", fmt.Sprint(most))
}

// anonymous is RssAnon of a process in bytes.
func anonymous(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("RssAnon:"))
	text, _, _ = bytes.Cut(text, []byte("kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

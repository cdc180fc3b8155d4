package chaos_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// result is what became of a round.
type result struct {
	failed      bool
	hung        bool
	captured    uint64
	lost        map[string]uint64
	wrong       uint64
	unaccounted uint64
	faults      []consequence
}

// consequence is a fault with what followed it.
type consequence struct {
	tried
	// lost are the frames that were lost after it and before the next fault.
	lost     map[string]uint64
	recovery time.Duration // to the next durable frame
	recovers bool          // whether there was one
}

func (r result) String() string {
	return fmt.Sprintf("captured %d, lost %v, %d wrong, %d unaccounted, %d faults", r.captured, r.lost, r.wrong, r.unaccounted, len(r.faults))
}

// judge checks everything that a round left behind.
func (r *round) judge(out outcome, hung bool) result {
	t := r.t
	res := result{hung: hung, lost: map[string]uint64{}}
	slices.SortFunc(r.tried, func(a, b tried) int { return a.at.Compare(b.at) })
	for _, f := range r.tried {
		c := consequence{tried: f, lost: map[string]uint64{}}
		c.recovery, c.recovers = r.watch.recovery(f.at)
		res.faults = append(res.faults, c)
	}
	if !hung { // else they were ended to tell their stacks
		for _, text := range out.died {
			t.Errorf("died of itself: %s", text)
		}
		r.NothingLeft()
		r.code(out)
	}
	finished := 0
	for _, path := range r.stores() {
		a, err := store.ReadAttributes(vfs.OS{}, path)
		if err != nil {
			if !r.unborn(path) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if a.Summary == nil {
			if !r.unborn(path) {
				t.Errorf("%s is not finished\n%+v", path, bin.Run(t, "sluice", "verify", path))
			}
			continue
		}
		finished++
		r.contents(*a.Summary, &res)
	}
	if finished == 0 {
		t.Error("there is no finished store")
	}
	if finished > 1+out.unanswered && r.plan.way != startsOnce {
		t.Errorf("%d stores are finished", finished)
	}
	res.failed = t.Failed()
	return res
}

// unborn reports whether a store is of a run whose acquire died before it had a frame.
func (r *round) unborn(path string) bool {
	shards, _ := filepath.Glob(filepath.Join(path, "0", "c", "*"))
	return len(shards) == 0 && r.killedAcquire()
}

// code checks the exit code against the account that came with it, and the account against the round.
func (r *round) code(out outcome) {
	t := r.t
	if out.result == nil || r.plan.way == operated && out.result.Stdout == "" && out.result.Code == 0 && r.killedAcquire() {
		return // acquire --start, whose end was checked by its code; or one that does not know of the run that ended before it
	}
	if !slices.Contains([]int{exit.OK, exit.Lost, exit.Unavailable}, out.result.Code) || out.result.Stdout == "" {
		t.Errorf("exit code %d", out.result.Code)
		return
	}
	var s run.Summary
	out.result.LastLine(t, &s)
	if r.plan.deadline > 0 && out.result.Code == exit.Unavailable && s.EndedBy == run.EndedInterrupted {
		return // several faults one after the other kept acquire from answering: so says the account
	}
	if want := bus.ExitCode(s); out.result.Code != want {
		t.Errorf("exit code %d, the account means %d: %+v", out.result.Code, want, s)
	}
	if s.Captured != s.Written+s.Lost {
		t.Errorf("captured %d, written %d, lost %d", s.Captured, s.Written, s.Lost)
	}
	switch {
	case s.EndedBy == run.EndedFrames && s.Captured == r.plan.frames:
	case s.EndedBy == run.EndedStop && r.plan.stopAt > 0:
	case s.EndedBy == run.EndedDeadline && r.plan.deadline > 0:
	case s.EndedBy == run.EndedInterrupted && r.plan.way == operated && r.killedAcquire():
	default:
		t.Errorf("ended by %q with %d of %d frames", s.EndedBy, s.Captured, r.plan.frames)
	}
	if s.Restarts > r.kills {
		t.Errorf("%d restarts after %d kills", s.Restarts, r.kills)
	}
}

// killedAcquire reports whether acquire was killed.
func (r *round) killedAcquire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.tried, func(f tried) bool {
		return f.kind == killAcquire || f.kind == givenUp || f.kind == killTwo || f.kind == killSilent
	})
}

// contents checks a finished store: all frames, all bytes, all reasons.
func (r *round) contents(s run.Summary, res *result) {
	t := r.t
	res.captured += s.Captured
	bin.Verify(t, s)
	reader, err := store.OpenReader(vfs.OS{}, s.Store)
	if err != nil {
		t.Error(err)
		return
	}
	defer reader.Close()
	c := programs.Inspect(t, reader, s.Source, programs.Ledger(t, s.Store))
	res.wrong += uint64(len(c.Wrong))
	res.unaccounted += uint64(len(c.Unaccounted))
	lost := uint64(0)
	for state, n := range c.States {
		if state == frames.Durable {
			continue
		}
		lost += n
		res.lost[state.String()] += n
		if state == frames.Absent {
			res.unaccounted += n
		}
		if !r.allows(state) {
			t.Errorf("%d frames are %s, which this run may not lose", n, state)
		}
	}
	if len(c.Wrong)+len(c.Unaccounted) > 0 || reader.Len() != s.Captured || c.States[frames.Durable] != s.Written || lost != s.Lost {
		t.Errorf("of %d frames %d are wrong (%v) and %d unaccounted (%v); the store has %d: %v; the summary says written %d, lost %d %v",
			s.Captured, len(c.Wrong), c.Wrong, len(c.Unaccounted), c.Unaccounted, reader.Len(), c.States, s.Written, s.Lost, s.LostByReason)
	}
	r.blame(s, reader, res)
}

// allows reports whether a run with the plan's camera and policy may lose frames in this way.
func (r *round) allows(state frames.State) bool {
	switch state {
	case frames.Dropped:
		return r.plan.onFull == "drop"
	case frames.Paused:
		return r.plan.free && r.plan.onFull == "pause"
	case frames.Missed:
		return r.plan.free
	case frames.Stopped:
		return r.plan.deadline > 0 // a drain is given up that does not move for so long, whatever the reason
	case frames.Restarted:
		return r.plan.free && r.killedAcquire()
	}
	return false
}

// blame puts each loss to the fault that was the last one before it.
func (r *round) blame(s run.Summary, reader *store.Reader, res *result) {
	type line struct {
		Seq, Count uint64
		Reason     frames.State
		LastNS     int64 `json:"last_ns,string"`
	}
	files, err := filepath.Glob(filepath.Join(s.Store, "ledger", "*.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	named := map[uint64]line{}
	for _, name := range files {
		for _, l := range programs.Lines[line](r.t, name) {
			for seq := l.Seq; seq < l.Seq+l.Count; seq++ {
				named[seq] = l
			}
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(named)) {
		l := named[seq]
		if row, err := reader.Row(seq); err != nil || row.State != l.Reason {
			continue // durable, or lost in another way
		}
		for i := len(res.faults) - 1; i >= 0; i-- {
			if c := res.faults[i]; c.at.UnixNano() <= l.LastNS {
				c.lost[l.Reason.String()]++
				break
			}
		}
	}
}

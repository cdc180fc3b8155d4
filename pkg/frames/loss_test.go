package frames_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestStateNames(t *testing.T) {
	names := []string{"absent", "durable", "paused", "dropped", "missed", "incomplete", "restarted", "unwritten", "stopped", "host lost"}
	for i, want := range names {
		s := frames.State(i)
		b, err := s.MarshalText()
		if err != nil || string(b) != want || s.String() != want {
			t.Errorf("state %d is %q and %q (%v), want %q", i, s, b, err, want)
		}
		var back frames.State
		if err := back.UnmarshalText(b); err != nil || back != s {
			t.Errorf("%q is state %d (%v), want %d", want, back, err, i)
		}
		if s.Lost() != (i >= 2) {
			t.Errorf("%s is lost: %v", s, s.Lost())
		}
	}
	bad := frames.State(len(names))
	if _, err := bad.MarshalText(); !errors.Is(err, frames.ErrWire) || bad.Lost() || bad.String() != "state(10)" {
		t.Errorf("state 10 is %q, lost %v, error %v", bad, bad.Lost(), err)
	}
	s := frames.Dropped
	if err := s.UnmarshalText([]byte("gone")); !errors.Is(err, frames.ErrWire) || s != frames.Dropped {
		t.Errorf("state is %s after the error %v", s, err)
	}
}

func TestStageNames(t *testing.T) {
	for i, want := range []string{1: "camera", 2: "acquire", 3: "writer", 4: "host"} {
		s := frames.Stage(i)
		b, err := s.MarshalText()
		if i == 0 {
			if !errors.Is(err, frames.ErrWire) || s.String() != "stage(0)" {
				t.Errorf("stage 0 is %q, error %v", s, err)
			}
			continue
		}
		var back frames.Stage
		if err != nil || string(b) != want || s.String() != want || back.UnmarshalText(b) != nil || back != s {
			t.Errorf("stage %d is %q and %q (%v), want %q, and back %d", i, s, b, err, want, back)
		}
	}
	bad := frames.Stage(5)
	if _, err := bad.MarshalText(); !errors.Is(err, frames.ErrWire) || bad.String() != "stage(5)" {
		t.Errorf("stage 5 is %q, error %v", bad, err)
	}
	for _, text := range []string{"", "disk"} {
		s := frames.AtWriter
		if err := s.UnmarshalText([]byte(text)); !errors.Is(err, frames.ErrWire) || s != frames.AtWriter {
			t.Errorf("%q: stage is %s after the error %v", text, s, err)
		}
	}
}

// TestNamesInJSON holds that ledgers have names, as values and as keys.
func TestNamesInJSON(t *testing.T) {
	b, err := json.Marshal(map[frames.State]frames.Stage{frames.HostLost: frames.AtHost})
	if want := `{"host lost":"host"}`; err != nil || string(b) != want {
		t.Errorf("JSON is %s (%v), want %s", b, err, want)
	}
}

func TestLossValid(t *testing.T) {
	good := frames.Loss{Seq: 5, Count: 1, Reason: frames.Paused, Stage: frames.AtCamera}
	for name, c := range map[string]struct {
		change func(*frames.Loss)
		ok     bool
	}{
		"good":                 {func(*frames.Loss) {}, true},
		"the last seq but one": {func(l *frames.Loss) { l.Seq, l.Count = math.MaxUint64-1, 1 }, true},
		"no frames":            {func(l *frames.Loss) { l.Count = 0 }, false},
		"end of 2^64":          {func(l *frames.Loss) { l.Seq, l.Count = math.MaxUint64, 1 }, false},
		"more than all":        {func(l *frames.Loss) { l.Count = math.MaxUint64 }, false},
		"durable":              {func(l *frames.Loss) { l.Reason = frames.Durable }, false},
		"absent":               {func(l *frames.Loss) { l.Reason = frames.Absent }, false},
		"unknown reason":       {func(l *frames.Loss) { l.Reason = 10 }, false},
		"no stage":             {func(l *frames.Loss) { l.Stage = 0 }, false},
		"unknown stage":        {func(l *frames.Loss) { l.Stage = 5 }, false},
	} {
		l := good
		c.change(&l)
		if err := l.Valid(); c.ok != (err == nil) || !c.ok && !errors.Is(err, frames.ErrWire) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestFollows(t *testing.T) {
	prev := frames.Loss{Seq: 5, Count: 3, Reason: frames.Dropped, Stage: frames.AtAcquire}
	for name, c := range map[string]struct {
		next frames.Loss
		want bool
	}{
		"next":         {frames.Loss{Seq: 8, Count: 1, Reason: frames.Dropped, Stage: frames.AtAcquire}, true},
		"a gap":        {frames.Loss{Seq: 9, Count: 1, Reason: frames.Dropped, Stage: frames.AtAcquire}, false},
		"an overlap":   {frames.Loss{Seq: 7, Count: 1, Reason: frames.Dropped, Stage: frames.AtAcquire}, false},
		"other reason": {frames.Loss{Seq: 8, Count: 1, Reason: frames.Paused, Stage: frames.AtAcquire}, false},
		"other stage":  {frames.Loss{Seq: 8, Count: 1, Reason: frames.Dropped, Stage: frames.AtWriter}, false},
	} {
		if got := c.next.Follows(prev); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSplit(t *testing.T) {
	l := frames.Loss{Seq: 10, Count: 5, FirstFrameID: 110, LastFrameID: 114, FirstNS: 1000, LastNS: 5000,
		Reason: frames.Missed, Stage: frames.AtCamera}
	before, after := l.Split(12)
	wantBefore := frames.Loss{Seq: 10, Count: 2, FirstFrameID: 110, LastFrameID: 111, FirstNS: 1000, LastNS: 1000,
		Reason: frames.Missed, Stage: frames.AtCamera}
	wantAfter := frames.Loss{Seq: 12, Count: 3, FirstFrameID: 112, LastFrameID: 114, FirstNS: 5000, LastNS: 5000,
		Reason: frames.Missed, Stage: frames.AtCamera}
	if d := cmp.Diff(wantBefore, before) + cmp.Diff(wantAfter, after); d != "" {
		t.Error(d)
	}
}

// TestSplitAndJoin cuts random ranges at random places: the parts are valid, follow each other, hold the same
// seqs, and make the same range again.
func TestSplitAndJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		count := r.Uint64N(1000) + 2
		l := frames.Loss{
			Seq: r.Uint64N(math.MaxUint64 - count), Count: count, FirstFrameID: r.Uint64(), LastFrameID: r.Uint64(),
			FirstNS: r.Int64(), LastNS: r.Int64(),
			Reason: frames.State(2 + r.IntN(8)), Stage: frames.Stage(1 + r.IntN(4)),
		}
		cut := l.Seq + 1 + r.Uint64N(count-1)
		before, after := l.Split(cut)
		for _, part := range []frames.Loss{l, before, after} {
			if err := part.Valid(); err != nil {
				t.Fatalf("%+v: %v", part, err)
			}
		}
		if before.Seq != l.Seq || before.End() != cut || after.Seq != cut || after.End() != l.End() {
			t.Fatalf("%+v cut before %d is %+v and %+v", l, cut, before, after)
		}
		if !after.Follows(before) || before.Follows(after) {
			t.Fatalf("%+v does not follow %+v, or the other way", after, before)
		}
		if d := cmp.Diff(l, after.Join(before)); d != "" {
			t.Fatal(d)
		}
	}
}

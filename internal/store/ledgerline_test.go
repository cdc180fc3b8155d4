package store

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// alternating are n frames of which every second one between two durable ones is lost, from seq on.
func alternating(seq uint64, n int, reason frames.State) []frames.Loss {
	ls := make([]frames.Loss, n)
	for i := range ls {
		at := seq + 2*uint64(i)
		ls[i] = frames.Loss{
			Seq: at, Count: 1, FirstFrameID: at + 7, LastFrameID: at + 7, FirstNS: int64(at) * 1000, LastNS: int64(at) * 1000, Reason: reason, Stage: frames.AtAcquire,
		}
	}
	return ls
}

// TestManyRangesInALine: where every second frame is lost a line has thousands of them, at four bytes each, and reading
// gives each range back; its times are then those of the line.
func TestManyRangesInALine(t *testing.T) {
	want := alternating(10, 10000, frames.Dropped)
	b, err := appendLedger(nil, want...)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(b, []byte{'\n'}); lines != 5 || len(b) > 10000*4+5*300 {
		t.Errorf("%d lines of %d bytes", lines, len(b))
	}
	got, torn := parseLedger(b)
	if torn != 0 || len(got) != len(want) {
		t.Fatalf("%d ranges and %d torn lines, want %d", len(got), torn, len(want))
	}
	for i, l := range got {
		first := i / maxMore * maxMore
		w := want[i]
		w.FirstNS, w.LastNS = want[first].FirstNS, want[min(first+maxMore, len(want))-1].LastNS
		if l != w {
			t.Fatalf("range %d is %+v, want %+v", i, l, w)
		}
	}
}

// TestWhatSharesALine: only ranges of one reason and stage whose frame ids are in step with seq.
func TestWhatSharesALine(t *testing.T) {
	a := alternating(0, 3, frames.Dropped)
	change := func(f func(*frames.Loss)) []frames.Loss {
		ls := slices.Clone(a)
		f(&ls[1])
		return ls
	}
	for name, c := range map[string]struct {
		ls    []frames.Loss
		lines int
	}{
		"alike":          {a, 1},
		"longer":         {append(slices.Clone(a), frames.Loss{Seq: 9, Count: 5, FirstFrameID: 16, LastFrameID: 20, Reason: frames.Dropped, Stage: frames.AtAcquire}), 1},
		"other reason":   {change(func(l *frames.Loss) { l.Reason = frames.Missed }), 3},
		"other stage":    {change(func(l *frames.Loss) { l.Stage = frames.AtCamera }), 3},
		"ids jump":       {change(func(l *frames.Loss) { l.FirstFrameID, l.LastFrameID = 99, 99 }), 3},
		"ids that count": {change(func(l *frames.Loss) { l.LastFrameID++ }), 3},
		"no gap":         {change(func(l *frames.Loss) { l.Count, l.LastFrameID = 2, l.LastFrameID+1 }), 2},
	} {
		b, err := appendLedger(nil, c.ls...)
		if lines := bytes.Count(b, []byte{'\n'}); err != nil || lines != c.lines {
			t.Errorf("%s: %d lines, %v, want %d:\n%s", name, lines, err, c.lines, b)
		}
		got, torn := parseLedger(b)
		if torn != 0 || len(got) != len(c.ls) {
			t.Errorf("%s: %d ranges, %d torn", name, len(got), torn)
			continue
		}
		for i := range got {
			w := c.ls[i]
			if got[i].Seq != w.Seq || got[i].Count != w.Count || got[i].FirstFrameID != w.FirstFrameID || got[i].LastFrameID != w.LastFrameID || got[i].Reason != w.Reason {
				t.Errorf("%s: range %d is %+v, want %+v", name, i, got[i], w)
			}
		}
	}
}

// TestLinesThatAreNone: ranges that overlap or lead beyond the last number make a line that nobody believes.
func TestLinesThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"no gap":        `"v":2,"count":1,"more":[0,1]`,
		"no frames":     `"v":2,"count":1,"more":[1,0]`,
		"half a pair":   `"v":2,"count":1,"more":[1,1,1]`,
		"too far":       `"v":2,"count":1,"more":[18446744073709551615,1]`,
		"too long":      `"v":2,"count":1,"more":[1,18446744073709551615]`,
		"version 1":     `"v":1,"count":1,"more":[1,1]`,
		"version 3":     `"v":3,"count":1,"more":[1,1]`,
		"not a number":  `"v":2,"count":1,"more":[1,"1"]`,
		"below nothing": `"v":2,"count":1,"more":[1,-1]`,
	} {
		line := []byte(`{"seq":4,"reason":"dropped","stage":"acquire","first_frame_id":"1","last_frame_id":"1","first_ns":"0","last_ns":"0",` + text)
		if ls, torn := parseLedger(signed(line)); len(ls) != 0 || torn != 1 {
			t.Errorf("%s: %+v, %d torn", name, ls, torn)
		}
	}
	if ls, torn := parseLedger(signed([]byte(`{"seq":4,"reason":"dropped","stage":"acquire","first_frame_id":"1","last_frame_id":"1","first_ns":"0","last_ns":"0","v":2,"count":1,"more":[1,1]`))); len(ls) != 2 || torn != 0 {
		t.Errorf("a good one: %+v, %d torn", ls, torn)
	}
}

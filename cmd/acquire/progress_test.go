package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestProgress: a line when a run begins, one each period, none between runs.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := progress{every: 10 * time.Second, log: slog.New(slog.NewTextHandler(&out, nil))}
	one, two := frames.NewRunID(), frames.NewRunID()
	begin := time.Now()
	for _, step := range []struct {
		after int // seconds
		run   frames.RunID
		lines int
	}{
		{0, frames.RunID{}, 0},
		{1, one, 1},
		{2, one, 1},
		{10, one, 1},
		{11, one, 2},
		{12, frames.RunID{}, 2},
		{13, two, 3},
	} {
		s := bus.Status{State: bus.StateRunning}
		s.Camera, s.Run = "cam0", step.run
		p.told(s, begin.Add(time.Duration(step.after)*time.Second))
		if n := strings.Count(out.String(), "cam0 running: captured 0"); n != step.lines {
			t.Errorf("after %d s there are %d lines, want %d", step.after, n, step.lines)
		}
	}
	none := progress{log: slog.New(slog.NewTextHandler(&out, nil))}
	out.Reset()
	s := bus.Status{}
	s.Run = one
	none.told(s, begin)
	if out.Len() != 0 {
		t.Errorf("it said %s unasked", out.String())
	}
}

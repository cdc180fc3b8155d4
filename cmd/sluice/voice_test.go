package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/monitor"
)

func TestHumanLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                  "writer-1: plain",
		`{"a":1}`:                                `writer-1: {"a":1}`,
		`{"time":"x","level":"WARN","msg":"ho"}`: "writer-1: ho",
		`{"level":"ERROR","msg":"no","process":"p","run":"r","b":2,"a":"x"}`: "writer-1: error: no (a: x, b: 2)",
		`{"level":"WARN","msg":"no","event":"refused"}`:                      "",
	} {
		if got := humanLine("writer-1", in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestHoldKeepsLinesUntilTheirTime(t *testing.T) {
	var out bytes.Buffer
	h := &hold{screen: monitor.Open(&out, time.Hour)}
	s := sayer{to: h, process: "writer-1", last: "writer: "}
	s.say("one")
	s.say("writer: the last words, which the supervisor passes on")
	if out.Len() != 0 {
		t.Errorf("said before its time: %q", out.String())
	}
	h.release()
	s.say("two")
	if out.String() != "writer-1: one\nwriter-1: two\n" {
		t.Errorf("%q", out.String())
	}
}

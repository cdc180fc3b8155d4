package dispatch

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
)

// TestFalseAccount: of a writer's account only what the store alone knows is taken, and only where it adds up.
func TestFalseAccount(t *testing.T) {
	mine := run.Summary{V: 1, Captured: 10, EndedBy: run.EndedFrames, Written: 3, Warnings: []string{"mine"}, Store: "…"}
	good := run.Summary{
		V: 9, Captured: 10, Written: 8, Lost: 2, LostByReason: map[string]uint64{"dropped": 1, "missed": 1}, Store: "/data/s", Bytes: 80, StoredBytes: 70,
		EndedBy: "\x1b[2J", Warnings: []string{"theirs"}, Restarts: 99,
	}
	got, err := account(mine, good)
	if err != nil {
		t.Fatal(err)
	}
	if got.Written != 8 || got.Lost != 2 || got.Bytes != 80 || got.StoredBytes != 70 || got.Store != "/data/s" || !maps.Equal(got.LostByReason, good.LostByReason) {
		t.Errorf("what the store knows is missing: %+v", got)
	}
	if got.V != 1 || got.EndedBy != run.EndedFrames || got.Restarts != 0 || len(got.Warnings) != 1 || got.Warnings[0] != "mine" {
		t.Errorf("what acquire knows was taken from the writer: %+v", got)
	}
	for what, change := range map[string]func(*run.Summary){
		"more frames":   func(s *run.Summary) { s.Captured = 11 },
		"more written":  func(s *run.Summary) { s.Written = 9 },
		"fewer written": func(s *run.Summary) { s.Written = 7 },
		"a sum that wraps": func(s *run.Summary) {
			s.Written, s.Lost = ^uint64(0), 11
			s.LostByReason = map[string]uint64{"dropped": 11}
		},
		"lost for nothing": func(s *run.Summary) { s.LostByReason = nil },
		"a made-up reason": func(s *run.Summary) { s.LostByReason = map[string]uint64{"dropped": 1, "sold": 1} },
		"durable and lost": func(s *run.Summary) { s.LostByReason = map[string]uint64{"dropped": 1, "durable": 1} },
		"an endless path":  func(s *run.Summary) { s.Store = strings.Repeat("x", 5000) },
	} {
		bad := good
		bad.LostByReason = maps.Clone(good.LostByReason)
		change(&bad)
		if got, err := account(mine, bad); !errors.Is(err, ErrFinish) || got.Written != 3 {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

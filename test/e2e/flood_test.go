package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestFlood: a camera that misses every second frame of twenty thousand. What is told and kept of that is small: an event
// a second, and in the ledger less than what the columns have of a frame.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := newStation(t, "flood")
	r := s.start("--source", "sim:?width=64&height=64&dtype=uint8&fps=4000&pattern=hash&free=true&missevery=2", "--frames", "20000", "--on-full", "drop")
	sum := s.end(r, 3)
	if sum.Captured != 20000 || sum.Lost < 9000 || sum.LostByReason["missed"] < 9000 {
		t.Fatalf("captured %d, lost %v", sum.Captured, sum.LostByReason)
	}
	programs.CheckFrames(t, sum)
	ledgers, err := filepath.Glob(filepath.Join(sum.Store, "ledger", "*.jsonl"))
	if err != nil || len(ledgers) != 1 {
		t.Fatal(ledgers, err)
	}
	info, err := os.Stat(ledgers[0])
	if err != nil {
		t.Fatal(err)
	}
	const columns = 8 + 8 + 8 + 4 + 1
	if most := int64(sum.Lost) * columns / 2; info.Size() > most {
		t.Errorf("a ledger of %d bytes for %d lost frames, want at most %d", info.Size(), sum.Lost, most)
	}
	events := 0
	var first, last time.Time
	for _, e := range s.events.All() {
		switch {
		case e.Kind == bus.EventStarted:
			first = e.Time
		case e.Kind == bus.EventFramesLost && e.Loss.Reason == frames.Missed:
			events, last = events+1, e.Time
		}
	}
	if most := 3 + int(last.Sub(first)/time.Second); events == 0 || events > most {
		t.Errorf("%d events of missed frames in %v", events, last.Sub(first))
	}
	t.Logf("%d lost frames: %d bytes of ledger, %d events", sum.Lost, info.Size(), events)
	s.NothingLeft()
}

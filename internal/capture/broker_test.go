package capture

import (
	"encoding/json"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
)

// TestBrokerRestarts: a broker that goes and comes back costs no frame and none of the log's events; capture goes on
// meanwhile.
func TestBrokerRestarts(t *testing.T) {
	s := newStation(t)
	gate := s.gated(40, nil)
	s.start("--budget=4MiB", "--source=fake:")
	w := s.writer("w1", false)
	s.until("it joins", func() bool { return len(s.cfg.Dispatcher.Members()) == 1 }) // and is the primary
	s.writer("w2", false)
	s.begin()
	s.frames(gate, 10)
	s.until("ten are durable", func() bool { return s.durable() == 10 })
	for range 2 {
		s.srv.Down()
		s.frames(gate, 10)
		s.until("they are captured", func() bool {
			st, _ := s.Status(t.Context(), bus.RunRequest{})
			return st.Captured%10 == 0 && st.InFlight > 0
		})
		s.srv.Up()
		s.until("all are durable", func() bool { st, _ := s.Status(t.Context(), bus.RunRequest{}); return st.Durable == st.Captured })
	}
	s.frames(gate, 10)
	sum := s.wait()
	s.expect(sum, run.EndedSource, 40, 40, 0)
	if sum.Restarts != 0 {
		t.Errorf("%d restarts", sum.Restarts)
	}
	s.until("the log is complete", func() bool {
		lines := w.Events()
		return len(lines) > 0 && contains(lines[len(lines)-1], `"kind":"finished"`)
	})
	for i, line := range w.Events() {
		var e bus.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.N != uint64(i+1) {
			t.Errorf("line %d of the log has the number %d, %v", i, e.N, err)
		}
	}
}

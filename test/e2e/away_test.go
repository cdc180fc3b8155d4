package e2e_test

import (
	"os"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/run"
)

// TestBrokerAway has a broker that is not the run's own be away for ten seconds: the source pauses when the budget is full,
// nobody is given up, nothing is lost.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	srv := bustest.Start(t)
	s := bareStation(t, "away")
	s.listen(srv.URL())
	r := s.start("--source", endless, "--budget", "32MiB", "--shard-frames", "64", "--writers", "2", "--analyzers", "1")
	before := s.durable(r, 100)
	srv.Down()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	<-timer.C
	srv.Up()
	st := s.await("more frames", r, func(st bus.Status) bool { return st.Durable > before.Durable+500 })
	for _, m := range st.Members {
		if m.State != "live" {
			t.Errorf("%s is %s", m.Name, m.State)
		}
	}
	r.Signal(t, os.Interrupt)
	sum := s.end(r, 0)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Restarts != 0 || sum.PausedSeconds == 0 {
		t.Errorf("%+v", sum)
	}
	s.NothingLeft()
}

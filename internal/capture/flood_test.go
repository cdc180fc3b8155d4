package capture

import (
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestFlood: a camera that cannot stop goes on while no writer takes anything and its frames are lost for two reasons in
// turn, thousands of them; the subject hears of each kind of loss once a second, and every frame is named in the end.
func TestFlood(t *testing.T) {
	const n = 20000
	s := newStation(t)
	s.disk.K = 4096
	s.check = anyPixels
	s.start("--source=sim:?width=20&height=10&dtype=uint8&fps=10000&pattern=counter&missevery=2&free=true", "--frames=20000", "--on-full=drop", "--budget=4MiB", "--shard-frames=4096")
	w := s.writer("w1", true)
	s.begin()
	s.inState(bus.StateDraining) // it was never stopped, though nothing was taken
	st, err := s.Status(t.Context(), bus.RunRequest{})
	if err != nil || st.Captured != n || st.Durable != 0 || st.Lost+st.InFlight != n || st.LostByReason["dropped"] == 0 || st.LostByReason["missed"] == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	s.Controller.mu.Lock()
	room, size := s.session.slab.LossRoom()
	s.Controller.mu.Unlock()
	if room < size/3 {
		t.Errorf("room for %d of %d ranges", room, size)
	}
	w.Answer(frames.Durable)
	sum := s.wait()
	if sum.EndedBy != run.EndedFrames || sum.Captured != n || sum.LostByReason["dropped"]+sum.LostByReason["missed"] != sum.Lost {
		t.Errorf("summary %+v", sum)
	}
	s.await(bus.EventFinished, 1)
	var told uint64
	last := map[frames.State]time.Time{}
	count := map[frames.State]int{}
	for _, e := range s.told(bus.EventFramesLost) {
		l := e.Loss
		told += l.Count
		if l.Ranges > 1 && (l.EndSeq <= l.Seq || l.Count > l.EndSeq-l.Seq || l.Ranges > l.Count) {
			t.Errorf("event %+v", l)
		}
		count[l.Reason]++
		last[l.Reason] = e.Time
	}
	if told != sum.Lost {
		t.Errorf("told of %d lost frames of %d", told, sum.Lost)
	}
	first := s.told(bus.EventStarted)[0].Time
	for reason, k := range count {
		if most := 3 + int(last[reason].Sub(first)/lossPeriod); k > most {
			t.Errorf("%d events tell that frames were %s, at most %d do", k, reason, most)
		}
	}
}

package hosts_test

import (
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
)

// captured waits until a run has captured so many frames.
func (s *station) captured(n uint64) {
	s.t.Helper()
	s.status.Wait(s.t, limit, "frames are captured", func(st bus.Status) bool { return st.Captured >= n })
}

// TestBrokerRestarts: the broker is away for a moment, and comes back with nothing of the stream.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	s := newStation(t, "broker", "sim:?width=512&height=512&dtype=uint16&fps=100&pattern=hash", 800)
	far := s.member(elsewhere, "127.0.0.1", "writer", "w-far")
	here := s.member(nil, "127.0.0.1", "writer", "w-here")
	a := s.acquire("--require", "writer=2", "--shard-frames", "25", "--budget", "64MiB")
	s.carries("w-far", "jetstream")
	s.restart()
	s.captured(500)
	s.restart()
	s.finish(a)
	s.leave(far)
	s.leave(here)
}

// TestAcquireKilled: acquire is killed while frames are on their way to another host. The next one offers them again, in
// a stream of its own.
func TestAcquireKilled(t *testing.T) {
	t.Parallel()
	s := newStation(t, "acquire", "sim:?width=512&height=512&dtype=uint16&fps=100&pattern=hash", 800)
	far := s.member(elsewhere, "127.0.0.1", "writer", "w-far")
	args := []string{"--shard-frames", "25", "--budget", "64MiB"}
	a := s.acquire(args...)
	s.carries("w-far", "jetstream")
	s.captured(200)
	a.Signal(t, syscall.SIGKILL)
	a.Wait(t)
	a = s.acquire(args...)
	if r := a.Wait(t); r.Code != 3 && r.Code != 0 { // the time without an acquire is a gap where the camera would have gone on
		t.Fatalf("acquire ended with %d\n%s", r.Code, r.Stderr)
	}
	s.whole()
	s.leave(far)
}

// TestStoppedAnalyser: an analyser of another host that is stopped with a frame in its hands costs the writers nothing.
func TestStoppedAnalyser(t *testing.T) {
	t.Parallel()
	s := newStation(t, "stopped", "sim:?width=512&height=512&dtype=uint16&fps=50&pattern=hash", 400)
	far := s.member(elsewhere, "127.0.0.1", "writer", "w-far")
	seen := s.member(elsewhere, "127.0.0.1", "analyze", "a-far")
	a := s.acquire("--require", "writer,analyze", "--shard-frames", "25", "--budget", "128MiB")
	s.carries("w-far", "jetstream")
	s.carries("a-far", "jetstream")
	seen.Signal(t, syscall.SIGSTOP)
	s.finish(a)
	seen.Signal(t, syscall.SIGCONT)
	for _, b := range s.full.All() {
		if b.To == bus.BudgetFull {
			t.Errorf("the budget was full: %+v", b)
		}
	}
	s.leave(far)
	s.leave(seen)
}

package hosts_test

import (
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

const terminate = syscall.SIGTERM

// TestBothCarriers: a writer that maps the slab and one of another host share a run, byte for byte, and so do analysers.
func TestBothCarriers(t *testing.T) {
	for _, policy := range []string{"latest", "lossless"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "both-"+policy, "sim:?width=768&height=512&dtype=uint16&fps=100&pattern=hash", 500)
			local := s.member(nil, "127.0.0.1", "writer", "w-here")
			far := s.member(elsewhere, "127.0.0.1", "writer", "w-far")
			seen := s.member(elsewhere, "127.0.0.1", "analyze", "a-far")
			a := s.acquire("--require", "writer=2,analyze=1", "--shard-frames", "20", "--budget", "48MiB", "--analyze-policy", policy)
			s.carries("w-here", "shm")
			s.carries("w-far", "jetstream")
			s.carries("a-far", "jetstream")
			s.finish(a)
			for _, m := range []*programs.Running{local, far, seen} {
				s.leave(m)
			}
		})
	}
}

// TestForced: a member that could map the slab takes JetStream where it is told so, in a stream on disk.
func TestForced(t *testing.T) {
	t.Parallel()
	s := newStation(t, "forced", "sim:?width=2048&height=1024&dtype=uint16&fps=30&pattern=hash", 90)
	w := s.member(nil, "127.0.0.1", "writer", "w1", "--link", "jetstream", "--receive-buffer", "16MiB")
	a := s.acquire("--budget", "64MiB", "--stream-storage", "file", "--stream-bytes", "24MiB")
	s.carries("w1", "jetstream")
	s.finish(a)
	s.leave(w)
}

// TestOneHostOnly: an acquire that is told so lets no member of another host in, and the member says why it ends.
func TestOneHostOnly(t *testing.T) {
	t.Parallel()
	s := newStation(t, "alone", "sim:?width=64&height=64&dtype=uint16&fps=30&pattern=hash", 10)
	a := s.acquire("--link", "shm")
	far := s.member(elsewhere, "127.0.0.1", "writer", "w-far")
	if r := far.Wait(t); r.Code != 2 {
		t.Errorf("it ended with %d\n%s", r.Code, r.Stderr)
	}
	w := s.member(nil, "127.0.0.1", "writer", "w-here")
	s.finish(a)
	s.leave(w)
}

// TestKilled: the shards of a writer of another host that is killed go to one that is here, and the other way round.
func TestKilled(t *testing.T) {
	for _, victim := range []string{"far", "here"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "killed-"+victim, "sim:?width=512&height=512&dtype=uint16&fps=100&pattern=hash", 1000)
			beat := []string{"--heartbeat", "500ms", "--hung-after", "2s"}
			writers := map[string]*programs.Running{
				"here": s.member(nil, "127.0.0.1", "writer", "w-here", beat...),
				"far":  s.member(elsewhere, "127.0.0.1", "writer", "w-far", beat...),
			}
			a := s.acquire(append(beat, "--require", "writer=2", "--shard-frames", "50", "--budget", "32MiB", "--lost-after", "4s")...)
			s.carries("w-here", "shm")
			s.carries("w-far", "jetstream")
			writers[victim].Signal(t, syscall.SIGKILL)
			s.finish(a)
			var lost, sealed bool
			for _, e := range s.events.All() {
				lost = lost || e.Kind == bus.EventMemberLost && e.Member.Name == "w-"+victim
				sealed = sealed || lost && e.Kind == bus.EventShardSealed && e.Shard.Writer != "w-"+victim
			}
			if !lost || !sealed {
				t.Errorf("nobody says that the writer is lost, or the other one has sealed nothing since:\n%s", s.told())
			}
		})
	}
}

package scaling_test

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

const (
	source     = "sim:?width=128&height=128&dtype=uint16&pattern=hash&fps=500"
	frameBytes = 128 * 128 * 2
	// perShard is small: what moves from one writer to another is a shard.
	perShard = 10
	// enough is how many frames each set of members takes at least: several shards for each of four.
	enough = 40 * perShard
	// maxOpen is how many shards one writer has open at most (docs/link.md).
	maxOpen = 16
)

// TestWriters: one run goes on while one writer becomes two and four, one is killed, and all but the last leave, the one that
// made the store among them. New shards go to who is there, every frame is durable once and byte for byte, on both
// ways of the pixels.
func TestWriters(t *testing.T) {
	for _, link := range []string{"shm", "jetstream"} {
		t.Run(link, func(t *testing.T) {
			s := newStation(t, "scale-"+link, "writer", link)
			s.join("w1")
			s.acquire = s.start("acquire", "--source", source, "--start", "--store", "t.ome.zarr", "--budget", "64MiB",
				"--shard-frames", strconv.Itoa(perShard), "--lost-after", "3s", "--heartbeat", "500ms", "--hung-after", "2s")
			s.stay()
			s.join("w2")
			s.stay()
			s.join("w3", "w4")
			s.stay()
			s.kill("w2")
			s.stay()
			s.leave("w4")
			s.stay()
			s.leave("w1")
			s.stay()
			sum := s.record()
			s.leaveAll()
			s.shares(sum)
			s.once(sum)
			s.NothingLeft()
		})
	}
}

// once checks that every frame has one place: a file for each shard, of the size that its frames have, and one writer
// that released it. Two may have where a shard changed hands, the second of what the first had made durable.
func (s *station) once(sum run.Summary) {
	t := s.t
	t.Helper()
	files, bytes := 0, int64(0)
	if err := filepath.WalkDir(filepath.Join(sum.Store, "0", "c"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := int((sum.Captured + perShard - 1) / perShard); files != want {
		t.Errorf("%d shard files, want %d", files, want)
	}
	// A frame here is a multiple of the disk's blocks, so nothing lies between frames and index.
	if want := int64(sum.Captured)*frameBytes + int64(files)*(16*perShard+4); bytes != want || sum.Bytes != sum.Captured*frameBytes {
		t.Errorf("the files have %d bytes, want %d; the account has %d", bytes, want, sum.Bytes)
	}
	moved := map[uint64]bool{} // shards
	twice := 0
	for seq := range sum.Captured {
		switch n := len(s.work.by(seq)); {
		case n == 0:
			t.Errorf("frame %d is durable, and nobody released it", seq)
		case n > 1:
			moved[seq/perShard] = true
			twice++
		}
	}
	if changes := 3; len(moved) > changes*maxOpen {
		t.Errorf("shards %v were written by two, of which one was killed and two left", slices.Sorted(maps.Keys(moved)))
	}
	t.Logf("%d frames in %d shards, %d bytes; %d frames of %d shards that changed hands were released by two", sum.Captured, files, bytes, twice, len(moved))
}

// shares checks that each shard was given to one of those who were there when it was begun, and sealed once, by who had it
// last: one that was killed may have left any. That each of them had some, each phase has waited for.
func (s *station) shares(sum run.Summary) {
	t := s.t
	t.Helper()
	owner := map[uint64]string{}
	for _, e := range s.events.All() {
		if e.Kind == bus.EventShardSealed {
			if owner[e.Shard.Shard] != "" {
				t.Errorf("shard %d was sealed by %s and by %s", e.Shard.Shard, owner[e.Shard.Shard], e.Shard.Writer)
			}
			owner[e.Shard.Shard] = e.Shard.Writer
			if last := s.work.last(e.Shard.Shard); e.Shard.Writer != last {
				t.Errorf("shard %d was sealed by %s, and given to %s last", e.Shard.Shard, e.Shard.Writer, last)
			}
		}
	}
	if n := (sum.Captured + perShard - 1) / perShard; uint64(len(owner)) != n {
		t.Errorf("%d shards are sealed, the run has %d", len(owner), n)
	}
	for i, p := range s.phases {
		counts := map[string]int{}
		for no := p.begin/perShard + 1; no < p.end/perShard; no++ {
			counts[s.work.begun(no)]++
		}
		t.Logf("phase %d, frames %d to %d: %v", i+1, p.begin, p.end, counts)
		for name, n := range counts {
			if !slices.Contains(p.members, name) {
				t.Errorf("phase %d: %s, which was not there, has %d of the shards", i+1, name, n)
			}
		}
	}
}

// TestShardIsHandedOver: a writer that leaves does not wait until a slow camera has filled its shard. The other takes the shard
// over with what is durable of it, and with it the store, which the first one had made.
func TestShardIsHandedOver(t *testing.T) {
	s := newStation(t, "handover", "writer", "shm")
	s.join("w1")
	s.acquire = s.start("acquire", "--source", "sim:?width=128&height=128&dtype=uint16&pattern=hash&fps=20", "--start", "--store", "t.ome.zarr",
		"--shard-frames", "2000")
	durable := func(n uint64) {
		t.Helper()
		s.await("frames are durable", func(st bus.Status) bool { return st.Durable >= n })
	}
	durable(20)
	s.join("w2")
	s.await("both are ready", s.ready)
	s.leave("w1")
	st := s.await("the run goes on", func(bus.Status) bool { return true })
	durable(st.Captured + 20)
	sum := s.record()
	s.leaveAll()
	if n := len(s.work.by(sum.Captured - 1)); n != 1 || !slices.Contains(s.work.by(sum.Captured-1), "w2") {
		t.Errorf("the last frame is of %v", s.work.by(sum.Captured-1))
	}
	left := slices.ContainsFunc(s.events.All(), func(e bus.Event) bool { return e.Kind == bus.EventMemberLeft && e.Member.Name == "w1" })
	if !left {
		t.Error("no event says that the first writer has left")
	}
	s.NothingLeft()
}

// TestAllAtOnce: acquire, its writers and an analyser that must see everything are asked to go at the same time, as when a host
// shuts down: the run drains first.
func TestAllAtOnce(t *testing.T) {
	s := newStation(t, "at-once", "writer", "shm")
	s.join("w1", "w2")
	a := s.start("analyze", "--name", "a")
	s.acquire = s.start("acquire", "--source", source, "--start", "--store", "t.ome.zarr", "--budget", "64MiB",
		"--shard-frames", "100", "--require", "writer=2,analyze", "--analyze-policy", "lossless")
	s.await("frames are durable", func(st bus.Status) bool { return st.Durable >= enough })
	for _, p := range []*programs.Running{s.members["w1"], a, s.members["w2"], s.acquire} {
		p.Signal(t, terminate)
	}
	sum := s.ended()
	if sum.Analyzed != sum.Captured {
		t.Errorf("analyzed %d of %d frames", sum.Analyzed, sum.Captured)
	}
	for _, p := range []*programs.Running{s.members["w1"], s.members["w2"], a} {
		if r := p.Wait(t); r.Code != 0 {
			t.Errorf("a member ended with %d\n%s", r.Code, r.Stderr)
		}
	}
	s.NothingLeft()
}

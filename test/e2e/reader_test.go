package e2e_test

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestReadWhileItGrows opens the store again and again during the run: each time it has a prefix of the run that only
// grows, that is as long as acquire says at the least, and in which every byte of every frame is right.
func TestReadWhileItGrows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ camera, codec string }{{"none", "none"}, {"zstd", "zstd"}} {
		t.Run(c.codec, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, "read-"+c.camera)
			const source = endless + "&missevery=75"
			r := s.start("--source", source, "--frames", "600", "--budget", "32MiB", "--shard-frames", "20", "--writers", "3", "--compress", c.codec)
			st := s.durable(r, 1)
			length, looked, grown := uint64(0), 0, 0
			s.poll("the end of the run", r, func() bool {
				promised, ended := s.readable()
				n := readPrefix(t, st.Store, source)
				if n < length || n < promised {
					t.Fatalf("the store has %d frames, had %d, %d were promised", n, length, promised)
				}
				looked++
				if n > length {
					grown++
				}
				length = n
				return ended
			})
			sum := s.end(r, 3)
			if sum.Captured != 600 || sum.Lost != 8 || grown < 3 {
				t.Errorf("captured %d, lost %d; the store was seen to grow %d times", sum.Captured, sum.Lost, grown)
			}
			t.Logf("looked %d times, saw it grow %d times, to %d frames before the end", looked, grown, length)
		})
	}
}

// readable is the number of frames that the events have said are readable, and whether they have told the run's end.
func (s *station) readable() (n uint64, ended bool) {
	for _, e := range s.events.All() {
		switch e.Kind {
		case bus.EventShardSealed:
			n = max(n, e.Shard.ReadableUntilSeq)
		case bus.EventFinished:
			ended = true
		}
	}
	return n, ended
}

// readPrefix checks all frames that a reader finds now, and returns their number.
func readPrefix(t *testing.T, path, source string) uint64 {
	t.Helper()
	r, err := store.OpenReader(vfs.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	counts := programs.CheckPrefix(t, r, source, programs.Ledger(t, path))
	if missed := r.Len() / 75; counts[frames.Missed] != missed || counts[frames.Durable] != r.Len()-missed {
		t.Fatalf("of %d frames %v, want %d missed and the others durable", r.Len(), counts, missed)
	}
	return r.Len()
}

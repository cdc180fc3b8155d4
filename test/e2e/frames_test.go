package e2e_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestEveryByte records runs of all kinds and compares every byte of every frame with the formula of the pattern.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		width, height int
		dtype, codec  string
		pattern       string
		frames        int
		shard         int // frames in one, 0 for the default
		writers       int
	}{
		{512, 512, "uint16", "none", "hash", 1000, 0, 2}, // the main run, as fast as it goes
		{512, 512, "uint16", "zstd", "noise", 120, 50, 2},
		{640, 480, "uint8", "zstd:3", "hash", 100, 32, 1},
		{333, 77, "uint8", "none", "counter", 259, 64, 3},
		{512, 256, "uint16", "none", "counter", 300, 40, 2}, // past the cache, and from the slab to the disk
		{641, 479, "uint16", "none", "hash", 41, 10, 2},
		{17, 31, "uint16", "zstd", "wave", 33, 16, 2},
		{1, 1, "uint8", "none", "hash", 100, 7, 2},
		{1, 1, "uint16", "zstd", "counter", 3, 0, 1},
		{4096, 1, "uint8", "none", "hash", 9, 4, 1}, // exactly a block of the disk
	} {
		t.Run(fmt.Sprintf("%dx%d/%s/%s/%s/%d", c.width, c.height, c.dtype, c.codec, c.pattern, c.frames), func(t *testing.T) {
			s := newStation(t, fmt.Sprintf("bytes-%d", i))
			fps := 0 // as fast as it can
			if c.pattern == "wave" {
				fps = 1000
			}
			source := fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&pattern=%s&fps=%d", c.width, c.height, c.dtype, c.pattern, fps)
			args := []string{
				"--source", source, "--frames", strconv.Itoa(c.frames), "--writers", strconv.Itoa(c.writers), "--analyzers", "2",
				"--compress", c.codec, "--budget", "64MiB",
			}
			if c.shard > 0 {
				args = append(args, "--shard-frames", strconv.Itoa(c.shard))
			}
			sum := s.end(s.start(args...), 0)
			if n := uint64(c.frames); sum.Captured != n || sum.Written != n || sum.Lost != 0 {
				t.Errorf("captured %d, written %d, lost %d; want all %d", sum.Captured, sum.Written, sum.Lost, n)
			}
			s.NothingLeft()
		})
	}
}

// TestCameraFaults records a camera that has every fault: frames that never reach the host, and incomplete ones.
func TestCameraFaults(t *testing.T) {
	t.Parallel()
	s := newStation(t, "faults")
	r := s.start("--source", "sim:?width=96&height=64&dtype=uint16&fps=0&pattern=hash&missevery=37&incompleteevery=50&idbits=16&skipzero=true",
		"--frames", "500", "--shard-frames", "64", "--writers", "2", "--budget", "16MiB")
	sum := s.end(r, 3)
	// Of the frames 36, 73, … 13 are missed; of the frames 49, 99, … 10 are incomplete, none of them both.
	if sum.Captured != 500 || sum.LostByReason[frames.Missed.String()] != 13 || sum.LostByReason[frames.Incomplete.String()] != 10 || sum.Lost != 23 {
		t.Errorf("captured %d, lost %v", sum.Captured, sum.LostByReason)
	}
	ledger := programs.Ledger(t, sum.Store)
	for seq := range sum.Captured {
		want := frames.Absent
		switch {
		case seq%37 == 36:
			want = frames.Missed
		case seq%50 == 49:
			want = frames.Incomplete
		}
		if got := ledger[seq]; want == frames.Absent && len(got) > 0 || want != frames.Absent && (len(got) == 0 || got[0] != want) {
			t.Errorf("frame %d is in the ledger as %v, want %s", seq, got, want)
		}
	}
}

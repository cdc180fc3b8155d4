package disk_test

import (
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/test/disk/faults"
)

// TestNoRoomFor has the disk say once that it has no room, at one kind of operation: whichever it is, the run ends in
// order.
func TestNoRoomFor(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		op, path string
		first    int
		count    int
		writers  int
		codec    string
	}{
		{"fallocate", ".data", 3, 2, 1, "none"}, // of all that the shard may need, and of what it needs now
		{"write", ".data", 5, 1, 1, "none"},
		{"write", ".data", 5, 1, 2, "zstd"},
		{"fdatasync", ".data", 5, 1, 1, "none"},
		{"fdatasync", ".data", 5, 1, 2, "zstd"},
		{"write", ".journal", 6, 1, 1, "zstd"},
		{"fdatasync", ".journal", 6, 1, 2, "none"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("noroom-%d", i), faults.Rule{
				Writer: "writer-1", Op: c.op, Path: c.path, First: c.first, Count: c.count, Lives: 1, Do: vfs.Full,
			})
			r := s.start(append(steady, "--writers", fmt.Sprint(c.writers), "--compress", c.codec)...)
			want, why := 5, run.EndedDiskFull
			// A file whose sync had no room is not to be trusted: its writer ends, another takes its place, and the frames from
			// the slab. The last word of the one that ends may be lost with it: then there was room again.
			if r.Wait(t).Code == 0 && c.op == "fdatasync" {
				want, why = 0, run.EndedFrames
			}
			sum, words := s.end(r, want)
			if again := sum.Restarts == 1 && sum.Lost == 0; sum.EndedBy != why || !again && sum.LostByReason["unwritten"] != sum.Lost {
				t.Errorf("%+v", sum)
			}
			if !told(words, sum.Store, "no space left on device") {
				t.Errorf("stderr:\n%s", words)
			}
			s.sound(sum)
			s.NothingLeft()
		})
	}
}

// TestNoRoomForAnything: a disk without even the room that the store's end needs. The run ends at once, and says that it
// is the disk; with room the store is completed.
func TestNoRoomForAnything(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		op, path string
		writers  int
	}{{"write", ".data", 1}, {"write", ".data", 2}, {"open", ".sluice/", 1}, {"write", "", 1}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("nothing-%d", i))
			r := s.start(append(steady, "--writers", fmt.Sprint(c.writers))...)
			s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= 100 })
			s.rules(faults.Rule{Op: c.op, Path: c.path, Do: vfs.Full})
			sum, words := s.end(r, 5)
			if sum.EndedBy != run.EndedDiskFull || sum.Written < 100 || sum.Captured == 400 {
				t.Errorf("%+v", sum)
			}
			if !told(lastLine(words), "no space left on device", sum.Store) {
				t.Errorf("stderr:\n%s", words)
			}
			s.recovered(sum)
		})
	}
}

// recovered gives up what a run has left in shared memory, and checks that its store is whole then.
func (s *station) recovered(sum run.Summary) {
	s.t.Helper()
	res := bin.Run(s.t, "sluice", "recover", "--discard-slab", "--json", sum.Store)
	if res.Code != 3 && res.Code != 0 {
		s.t.Fatalf("recover: exit code %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	var report struct{ Captured, Written, Lost uint64 }
	res.LastLine(s.t, &report)
	if report.Captured != sum.Captured || report.Written < sum.Written || report.Written+report.Lost != report.Captured {
		s.t.Errorf("recover: %+v, the run has %d captured, %d written", report, sum.Captured, sum.Written)
	}
	bin.Verify(s.t, run.Summary{Store: sum.Store, Captured: report.Captured, Written: report.Written, Lost: report.Lost})
	s.NothingLeft()
}

package disk_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/test/disk/faults"
)

// steady is a camera that a disk keeps up with: two seconds of it.
var steady = []string{
	"--source", "sim:?width=256&height=256&dtype=uint16&fps=200&pattern=hash", "--frames", "400", "--budget", "32MiB", "--shard-frames", "32",
}

// TestError has one operation of a writer fail with EIO: the writer ends and comes back, goes on in new files, and no
// frame is lost. With two writers the other one may be faster.
func TestError(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		op, path string
		first    int
		do       vfs.Injection
		writers  int
		codec    string
	}{
		{"write", ".data", 3, vfs.IO, 1, "none"},
		{"write", ".data", 2, vfs.IO, 2, "zstd"},
		{"write", ".data", 5, vfs.Short, 1, "none"},
		{"write", ".data", 1, vfs.Short, 2, "zstd"},
		{"write", ".data", 4, vfs.Late, 2, "none"},
		{"fdatasync", ".data", 6, vfs.IO, 1, "none"},
		{"fdatasync", ".data", 3, vfs.IO, 2, "none"},
		{"fdatasync", ".data", 2, vfs.Late, 1, "zstd"},
		{"write", ".journal", 9, vfs.Short, 1, "none"},
		{"fdatasync", ".journal", 5, vfs.IO, 2, "none"},
		{"fsync", ".data", 1, vfs.IO, 1, "none"},
		{"rename new", "/0/c/", 1, vfs.IO, 1, "zstd"},
		{"rename new", "/0/c/", 2, vfs.Late, 2, "none"},
		{"rename", ".ome.zarr/0/zarr.json", 1, vfs.IO, 1, "none"},
		{"sync folder", ".ome.zarr/.sluice", 5, vfs.IO, 2, "none"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("error-%d", i), faults.Rule{
				Writer: "writer-1", Op: c.op, Path: c.path, First: c.first, Count: 1, Lives: 1, Do: c.do,
			})
			sum, words := s.end(s.start(append(steady, "--writers", fmt.Sprint(c.writers), "--compress", c.codec)...), 0)
			if sum.Captured != 400 || sum.Written != 400 || sum.EndedBy != run.EndedFrames || sum.Restarts != 1 {
				t.Errorf("captured %d, written %d, ended by %s, %d restarts", sum.Captured, sum.Written, sum.EndedBy, sum.Restarts)
			}
			s.sound(sum)
			s.NothingLeft()
			failed := s.failed()
			if len(failed) != 1 {
				t.Fatalf("failed operations %+v", failed)
			}
			if !told(words, filepath.Base(failed[0].Path), "input/output error") {
				t.Errorf("nothing says what failed:\n%s", words)
			}
			s.notTriedAgain(failed[0])
		})
	}
}

// failed are the operations that were kept from doing what they should.
func (s *station) failed() []faults.Done {
	s.t.Helper()
	return slices.DeleteFunc(s.done(), func(d faults.Done) bool { return d.Do == vfs.Pass })
}

// told reports whether a line has all the words.
func told(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// notTriedAgain checks that nobody goes on with a shard's file that has failed: a sync that failed is its writer's last
// one, and nobody else ever writes to it.
func (s *station) notTriedAgain(failed faults.Done) {
	s.t.Helper()
	if !strings.HasSuffix(failed.Path, ".data") && !strings.HasSuffix(failed.Path, ".journal") {
		return
	}
	behind := false
	for _, d := range s.done() {
		mine := d.Writer == failed.Writer && d.Restarts == failed.Restarts
		switch {
		case d == failed:
			behind = true
		case !strings.HasPrefix(d.Path, failed.Path) || mine && !behind:
		case mine && strings.HasSuffix(failed.Op, "sync") && strings.HasSuffix(d.Op, "sync"):
			s.t.Errorf("after %+v: %+v", failed, d)
		case !mine && slices.Contains([]string{"write", "truncate", "fallocate", "fdatasync", "fsync"}, d.Op):
			s.t.Errorf("after %+v: %+v", failed, d)
		}
	}
	if !behind {
		s.t.Errorf("%+v is not among what was done", failed)
	}
}

// TestBrokenForPixels: the disk takes no pixels any more, but what is small. Writers come back some times, then the run
// ends: what is not durable is in the ledger.
func TestBrokenForPixels(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		op      string
		first   int
		writers int
		codec   string
	}{
		{"write", 0, 1, "none"},
		{"write", 0, 2, "zstd"},
		{"fdatasync", 0, 1, "none"},
		{"fdatasync", 0, 2, "none"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("pixels-%d", i), faults.Rule{Op: c.op, Path: ".data", Do: vfs.IO})
			sum, words := s.end(s.start(append(steady, "--writers", fmt.Sprint(c.writers), "--compress", c.codec)...), 7)
			if sum.Written != 0 || sum.LostByReason["unwritten"] != sum.Captured || sum.EndedBy != run.EndedWriter || len(sum.Warnings) != 1 {
				t.Errorf("%+v", sum)
			}
			s.sound(sum)
			s.NothingLeft()
			if last := lastLine(words); !told(last, ".data", "input/output error", "fails again and again", "ledger") {
				t.Errorf("the last line: %s", last)
			}
			if sum.Restarts < 4 || sum.Restarts > 7*c.writers {
				t.Errorf("%d restarts", sum.Restarts)
			}
		})
	}
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// TestBroken: every write fails from some time on, the ledger's too. The run ends and says so; what is durable is
// readable, and what is not is in shared memory until `sluice recover --discard-slab` gives it up.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, writers := range []int{1, 2} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, failing, fmt.Sprintf("broken-%d", writers))
			r := s.start(append(steady, "--writers", fmt.Sprint(writers))...)
			st := s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= 100 })
			s.rules(faults.Rule{Op: "write", Do: vfs.IO})
			sum, words := s.end(r, 7)
			if sum.Written < st.Durable || sum.Written+sum.Lost >= sum.Captured || sum.EndedBy != run.EndedWriter {
				t.Errorf("%+v", sum)
			}
			if !told(words, "gave up restarting", ".sluice/", "input/output error") || !told(lastLine(words), "group writer is lost", sum.Store) {
				t.Errorf("stderr:\n%s", words)
			}
			if sum.Restarts != 6*writers {
				t.Errorf("%d restarts", sum.Restarts)
			}
			s.recovered(sum)
		})
	}
}

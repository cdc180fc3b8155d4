package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// mount mounts a file system of its own for the test.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("sluice-test", dir, kind, 0, options); err != nil {
		t.Fatalf("mounting a %s: %v: this test needs the rights to mount (root, CAP_SYS_ADMIN)", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// endless is a camera that goes on until it is stopped: 8 MB a second.
const endless = "sim:?width=256&height=256&dtype=uint16&fps=64&pattern=hash"

// TestFullDisk records onto a small real disk until it is full: a warning before, then an end in order, with all that
// is durable readable and the rest in the ledger.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		writers int
		codec   string
		filler  bool // somebody else takes what is left
	}{
		{1, "none", false}, {2, "none", false}, {1, "zstd", false}, {2, "zstd", false}, {1, "none", true}, {2, "zstd", true},
	} {
		t.Run(fmt.Sprintf("%d/%s/%t", c.writers, c.codec, c.filler), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, bin, fmt.Sprintf("full-%d", i))
			s.Out = mount(t, "tmpfs", "size=32m")
			r := s.start("--source", endless, "--budget", "16MiB", "--shard-frames", "32", "--compress", c.codec, "--writers", fmt.Sprint(c.writers))
			st := s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= 40 })
			// What the end of the run needs is set aside.
			if info, err := os.Stat(filepath.Join(st.Store, ".sluice", "spare")); err != nil || info.Sys().(*syscall.Stat_t).Blocks*512 < 1<<20 {
				t.Errorf("the space for ledger and metadata: %v, %v", info, err)
			}
			if c.filler {
				low := s.events.Wait(t, patience, "a warning", func(e bus.Event) bool { return e.Kind == bus.EventDiskLow })
				if low.Disk == nil || low.Disk.FreeBytes == 0 {
					t.Errorf("the warning: %+v", low)
				}
				fill(t, filepath.Join(s.Out, "other"))
			}
			sum, words := s.end(r, 5)
			if sum.EndedBy != run.EndedDiskFull || sum.Written < st.Durable || sum.Lost == 0 || sum.LostByReason["unwritten"] != sum.Lost {
				t.Errorf("%+v", sum)
			}
			if !told(words, "no space left on device", sum.Store) || !told(lastLine(words), "ended by: disk full") {
				t.Errorf("stderr:\n%s", words)
			}
			s.sound(sum)
			s.NothingLeft()
			low, stopping := s.first(bus.EventDiskLow), s.first(bus.EventStopping)
			if low < 0 || stopping < low {
				t.Errorf("the warning is event %d, the end %d", low, stopping)
			}
		})
	}
}

// first is the index of the first event of a kind, -1 where there is none.
func (s *station) first(k bus.Kind) int {
	for i, other := range s.kinds() {
		if other == k {
			return i
		}
	}
	return -1
}

// fill takes all the room that a disk has, at once.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		free, err := vfs.OS{}.Free(path)
		if err == nil {
			err = unix.Fallocate(int(f.Fd()), 0, 0, int64(free))
		}
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOSPC) { // a frame was faster
			t.Fatal(err)
		}
	}
}

// TestReadOnly: a folder that can't be written to is refused when the run is armed.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, writers := range []int{1, 2} {
		t.Run(fmt.Sprint(writers), func(t *testing.T) {
			t.Parallel()
			s := newStation(t, bin, "readonly")
			s.Out = mount(t, "tmpfs", "size=32m")
			if err := unix.Mount("", s.Out, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			res := s.start("--source", endless, "--writers", fmt.Sprint(writers)).Wait(t)
			if res.Code != 2 || res.Stdout != "" || strings.Count(res.Stderr, "\n") != 1 || !told(res.Stderr, s.Out, "read-only file system") {
				t.Errorf("exit code %d\n%s%s", res.Code, res.Stdout, res.Stderr)
			}
			s.NothingLeft()
		})
	}
}

// TestNoDirect: a file system that has no direct access is written through the page cache, and the status says so.
func TestNoDirect(t *testing.T) {
	t.Parallel()
	s := newStation(t, bin, "nodirect")
	s.Out = mount(t, "ramfs", "")
	if f, err := os.OpenFile(filepath.Join(s.Out, "probe"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600); !errors.Is(err, unix.EINVAL) {
		f.Close()
		t.Fatalf("this kernel's ramfs has direct access: %v", err)
	}
	r := s.start("--source", endless, "--frames", "200", "--budget", "16MiB", "--shard-frames", "32", "--force")
	m := s.members.Wait(t, patience, "a writer's status with frames", func(m bus.MemberStatus) bool { return m.Writer != nil && m.Frames > 0 })
	if m.Writer.Direct || !strings.Contains(m.Writer.Fallback, "O_DIRECT") || !strings.Contains(m.Writer.Fallback, "invalid argument") {
		t.Errorf("the writer's status: %+v", m.Writer)
	}
	st := s.await("the camera's status", r, func(st bus.Status) bool {
		return len(st.Members) == 1 && st.Members[0].Writer != nil && st.Members[0].Writer.Fallback != ""
	})
	if st.Members[0].Writer.Direct {
		t.Errorf("the camera's status: %+v", st.Members[0].Writer)
	}
	sum, _ := s.end(r, 0)
	if sum.Written != 200 {
		t.Errorf("written %d", sum.Written)
	}
	s.sound(sum)
}

// TestStoreGone takes the store's folder away in mid-run: there is no frame that it could lose silently, and no end to
// wait for.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	for _, writers := range []int{1, 2} {
		for _, c := range []struct {
			name  string
			shard string // frames in one
			away  func(store, aside string) error
		}{
			{"removed", "32", func(store, _ string) error { return removeAll(store) }},
			{"removed long before a shard is full", "4000", func(store, _ string) error { return removeAll(store) }},
			{"renamed", "32", os.Rename},
		} {
			t.Run(fmt.Sprintf("%s/%d", c.name, writers), func(t *testing.T) {
				t.Parallel()
				s := newStation(t, bin, "gone")
				r := s.start("--source", endless, "--budget", "4MiB", "--shard-frames", c.shard, "--writers", fmt.Sprint(writers))
				st := s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= 100 })
				if err := c.away(st.Store, st.Store+".aside"); err != nil {
					t.Fatal(err)
				}
				sum, words := s.end(r, 4)
				if sum.EndedBy != run.EndedWriter || sum.Written < 100 || sum.Written+sum.Lost > sum.Captured || sum.Restarts != 0 || len(sum.Warnings) != 1 {
					t.Errorf("%+v", sum)
				}
				if last := lastLine(words); !told(last, st.Store, "removed or renamed") || strings.Count(last, st.Store) != 1 {
					t.Errorf("stderr:\n%s", words)
				}
				// The camera is not held up by what is gone.
				next, words := s.end(s.start("--source", endless, "--frames", "20", "--writers", fmt.Sprint(writers)), 0)
				if next.Store == st.Store || next.Written != 20 || !told(words, "sluice slabs --rm --force") {
					t.Errorf("%+v\n%s", next, words)
				}
				s.sound(next)
				if res := bin.Run(t, "sluice", "slabs", "--rm", "--force", s.Camera); res.Code != 0 {
					t.Errorf("%+v", res)
				}
				s.NothingLeft()
			})
		}
	}
}

// removeAll removes a folder that somebody else still writes to.
func removeAll(dir string) error {
	for {
		err := os.RemoveAll(dir)
		if err == nil || !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
}

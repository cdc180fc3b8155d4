package disk_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestPageCache: what a run writes leaves the page cache as it was, in every layout and over a writer's death. A cache that
// fills with frames is what breaks runs of hours.
func TestPageCache(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, codec string }{
		"direct": {"sim:?width=512&height=256&dtype=uint16&fps=400&pattern=hash", "none"},
		"packed": {"sim:?width=130&height=100&dtype=uint16&fps=4000&pattern=hash", "none"},
		"zstd":   {"sim:?width=512&height=256&dtype=uint16&fps=400&pattern=noise", "zstd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, bin, "cache-"+name)
			onDisk(t, s.Out)
			seen(t, s.Out)
			r := s.start("--source", c.source, "--duration", "2s", "--budget", "32MiB", "--shard-frames", "256", "--compress", c.codec)
			st := s.await("durable frames", r, func(st bus.Status) bool { return st.Durable > 300 })
			if err := syscall.Kill(programs.Writers(st)[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			sum, _ := s.end(r, 0)
			if sum.Restarts == 0 {
				t.Errorf("no writer was started again: %+v", sum)
			}
			const most = 1 << 20 // for metadata, columns and events, which are small
			if cached, files := cachedBelow(t, sum.Store); cached > most {
				t.Errorf("the page cache has %d bytes of %d that the store has: %s", cached, sum.StoredBytes, strings.Join(files, ", "))
			}
			if sum.StoredBytes < 20*most {
				t.Errorf("%d bytes say nothing", sum.StoredBytes)
			}
			s.sound(sum)
		})
	}
}

// onDisk stops a test whose folder is in memory: there is no page cache to look at.
func onDisk(t *testing.T, dir string) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC {
		t.Fatalf("%s is in memory: this test needs a TMPDIR on a disk", dir)
	}
}

// seen shows that what goes through the page cache is counted.
func seen(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "control")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := cached(path); n != 1<<20 || err != nil {
		t.Fatalf("%d bytes of a file that was just written are in the page cache: %v", n, err)
	}
}

// cachedBelow is how many bytes of the files below a folder are in the page cache, and of which.
func cachedBelow(t *testing.T, dir string) (n int, files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		cached, err := cached(path)
		if cached > 0 {
			files = append(files, e.Name())
		}
		n += cached
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, files
}

// cached is how many bytes of a file are in the page cache.
func cached(path string) (n int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { err = unix.Munmap(mem) }()
	page := os.Getpagesize()
	there := make([]byte, (len(mem)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
		return 0, errno
	}
	for _, p := range there {
		n += int(p&1) * page
	}
	return n, nil
}

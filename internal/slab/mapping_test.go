package slab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestLargePages: a slab takes what its file's size says and nothing more, whatever pages it is made of; and where the
// kernel gives large pages to shared memory, both sides have all of it in such, but for the end where none fits.
func TestLargePages(t *testing.T) {
	const frame = 300 << 10
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := mustCreateIn(t, dir, frame, 30)
	v, err := Open(dir, s.Path(), s.Spec().Run)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	info, err := os.Stat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	size, taken := info.Size(), info.Sys().(*syscall.Stat_t).Blocks*512
	if size != int64(s.Bytes()) || taken != size {
		t.Errorf("the file has %d bytes and takes %d, want %d", size, taken, s.Bytes())
	}
	sum := 0
	for at := 0; at < len(v.mem); at += PageSize {
		s.mem[at] += 0
		sum += int(v.mem[at])
	}
	if sum == 0 {
		t.Error("the slab is empty")
	}
	want := 0
	if largePages(t) {
		want = 2 * (s.Bytes() / hugePage * hugePage)
	}
	for name, mem := range map[string][]byte{"the slab": s.mem, "the view": v.mem} {
		if uintptr(unsafe.Pointer(unsafe.SliceData(mem)))%hugePage != 0 {
			t.Errorf("%s begins at %p, where no large page can", name, mem)
		}
	}
	if got := mappedLarge(t, s.Path()); got != want {
		t.Errorf("%d bytes of the two mappings are large pages, want %d of %d", got, want, 2*s.Bytes())
	}
}

// largePages reports whether the kernel makes a large page of a file in shared memory when it is asked to.
func largePages(t *testing.T) bool {
	f, err := os.CreateTemp("/dev/shm", "sluice-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Error(err)
		}
		f.Close()
	}()
	if err := f.Truncate(hugePage); err != nil {
		t.Fatal(err)
	}
	mem, err := mapFile(f, hugePage, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unmap(mem) }()
	mem[0] = 1
	err = unix.Madvise(mem, unix.MADV_COLLAPSE)
	if err != nil {
		t.Logf("no large pages here: %v", err)
	}
	return err == nil
}

// mappedLarge is how much of this process's mappings of a file is in large pages.
func mappedLarge(t *testing.T, path string) int {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	sum, maps := 0, 0
	for _, part := range regexp.MustCompile(`(?m)^[0-9a-f]+-[0-9a-f]+ `).Split(string(text), -1) {
		head, rest, _ := strings.Cut(part, "\n")
		if !strings.HasSuffix(head, path) {
			continue
		}
		maps++
		m := regexp.MustCompile(`(?m)^ShmemPmdMapped: *(\d+) kB$`).FindStringSubmatch(rest)
		if m == nil {
			t.Fatalf("nothing of large pages in %s", rest)
		}
		kb, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(fmt.Errorf("reading smaps: %w", err))
		}
		sum += kb << 10
	}
	if maps != 2 {
		t.Errorf("%d mappings of %s, want 2", maps, path)
	}
	return sum
}

package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// counters is the file in which the kernel counts what the disk of a folder does. A file system without a disk has none.
func counters(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("asking for the disk of %s: %w", dir, err)
	}
	return fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)), nil
}

// flushes is how often the disk of a folder has flushed its cache: the 16th of its counters (Linux 5.5 and later,
// Documentation/block/stat.rst). It is 0 where nobody counts, such as for a partition.
func flushes(dir string) uint64 {
	path, err := counters(dir)
	if err != nil {
		return 0
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	const field = 15
	fields := bytes.Fields(b)
	if len(fields) <= field {
		return 0
	}
	n, err := strconv.ParseUint(string(fields[field]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

package config

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FreeMemory is how many bytes of memory can still be had: what the kernel calls available, or what the
// process's control group leaves where that is less.
func FreeMemory() (int64, error) { return freeMemory("/") }

// freeMemory is FreeMemory with the system's folders below root.
func freeMemory(root string) (int64, error) {
	free, err := memAvailable(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, fmt.Errorf("asking for the free memory: %w", err)
	}
	// A system without control groups, or with those of version 1, sets no limit that we know of.
	group, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	path, ok := strings.CutPrefix(strings.TrimSpace(string(group)), "0::")
	if err != nil || !ok {
		return free, nil //nolint:nilerr // there is no limit, which is no error
	}
	// Inside a container the group is its own root, so the limit may be in any folder up to the root.
	for {
		dir := filepath.Join(root, "sys/fs/cgroup", path)
		limit, errL := readInt(filepath.Join(dir, "memory.max"))
		used, errU := readInt(filepath.Join(dir, "memory.current"))
		if errL == nil && errU == nil {
			free = min(free, max(limit-used, 0))
		}
		if path == "/" || path == "" || path == "." {
			return free, nil
		}
		path = filepath.Dir(path)
	}
}

// memAvailable reads MemAvailable, in bytes.
func memAvailable(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "MemAvailable:" && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%s has no line MemAvailable", path)
}

// readInt reads a file that holds one number.
func readInt(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

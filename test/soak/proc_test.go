package soak_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// usage is what the kernel says of one process.
type usage struct {
	anon    float64 // bytes of anonymous memory
	files   float64 // open
	threads float64
	cpu     float64 // seconds since its start
}

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every Linux that Go runs on.
const clockTick = 0.01

// usageOf reads /proc; an error says that the process has ended.
func usageOf(pid int) (u usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, err
	}
	if u.anon, err = number(status, "RssAnon:"); err != nil {
		return u, err
	}
	u.anon *= 1024
	if u.threads, err = number(status, "Threads:"); err != nil {
		return u, err
	}
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return u, err
	}
	u.files = float64(len(fds))
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, err
	}
	// The fields after the name, which is in brackets: the process's own time in user and kernel mode are the 12th and 13th.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return u, err
		}
		u.cpu += n * clockTick
	}
	return u, nil
}

// number is the value of a line of /proc/PID/status. A process that has just ended has none.
func number(status []byte, name string) (float64, error) {
	_, rest, ok := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("no %s", name)
	}
	return strconv.ParseFloat(string(fields[0]), 64)
}

// signal sends a signal to a process of the camera's, and to no other one that has its number by now.
func signal(camera string, pid int, sig syscall.Signal) error {
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.Contains(string(line), camera) {
		return fmt.Errorf("process %d is none of camera %s", pid, camera)
	}
	return syscall.Kill(pid, sig)
}

// cached is how many bytes of files are in the page cache. Files that go meanwhile have none.
func cached(paths []string) (bytes float64) {
	page := os.Getpagesize()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && info.Size() > 0 {
			bytes += float64(resident(int(f.Fd()), int(info.Size()), page) * page)
		}
		f.Close()
	}
	return bytes
}

// resident is how many pages of a file are in memory: mincore(2) of a mapping that nobody touches.
func resident(fd, size, page int) (n int) {
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0
	}
	defer unix.Munmap(m)
	pages := make([]byte, (size+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(size),
		uintptr(unsafe.Pointer(unsafe.SliceData(pages)))); errno != 0 {
		return 0
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

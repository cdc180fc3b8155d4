// Package usage says what processes use of processor and memory.
package usage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is how often a [Peak] looks.
const lookEvery = 50 * time.Millisecond

// Anonymous is a process's anonymous memory in bytes, what the kernel calls RssAnon: what it has resident less what it
// shares with files and shared memory. It returns an error where there is no such process (any more).
func Anonymous(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/statm", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// Pages: size, resident, shared (files and shared memory), …
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return 0, fmt.Errorf("%s has %d fields", path, len(fields))
	}
	resident, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	shared, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return max(0, resident-shared) * int64(os.Getpagesize()), nil
}

// Peak is the most anonymous memory that was seen of a process, over its lives. Its methods may be called concurrently.
type Peak struct{ most atomic.Int64 }

// Watch looks many times a second, until ctx or the process ends.
func (p *Peak) Watch(ctx context.Context, pid int) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		n, err := Anonymous(pid)
		if err != nil {
			return
		}
		for old := p.most.Load(); old < n && !p.most.CompareAndSwap(old, n); {
			old = p.most.Load()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Bytes is the most that was seen so far.
func (p *Peak) Bytes() int64 { return p.most.Load() }

// CPU is processor time.
type CPU struct{ User, System time.Duration }

// Add returns the sum.
func (c CPU) Add(o CPU) CPU { return CPU{c.User + o.User, c.System + o.System} }

// Sub returns the difference.
func (c CPU) Sub(o CPU) CPU { return CPU{c.User - o.User, c.System - o.System} }

// Seconds is user and system time together.
func (c CPU) Seconds() float64 { return (c.User + c.System).Seconds() }

// Own is what this process has used, without its children.
func Own() CPU {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return CPU{} // it is always there
	}
	return CPU{User: time.Duration(r.Utime.Nano()), System: time.Duration(r.Stime.Nano())}
}

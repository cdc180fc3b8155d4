package bench

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// mapped returns new memory in large pages, where the system has them: what a limit reads and writes is not to be slower
// than a slab. Unmap it.
func mapped(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes: %w", n, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a kernel without them has small ones
	return b, nil
}

func unmap(b []byte) { _ = unix.Munmap(b) } // it was mapped here

// copier is what the memory takes, with no link: the limits of the transport.
type copier struct {
	frame []byte // the camera's
	set   []byte // as large as the slab
}

// newCopier makes one for frames and a slab of so many bytes. Close it.
func newCopier(frame, set int) (*copier, error) {
	b, err := mapped(frame + max(2, set/frame)*frame)
	if err != nil {
		return nil, err
	}
	for i := range b {
		b[i] = byte(i * 7)
	}
	return &copier{b[:frame], b[frame:]}, nil
}

func (c *copier) close() { unmap(c.bytes()) }

// bytes is all of its memory.
func (c *copier) bytes() []byte { return c.frame[:len(c.frame)+len(c.set)] }

// slot is where frame i lies.
func (c *copier) slot(i int) []byte {
	at := i % (len(c.set) / len(c.frame)) * len(c.frame)
	return c.set[at : at+len(c.frame)]
}

// memcpy copies n frames from one half of the set into the other, and returns frames a second.
func (c *copier) memcpy(n int) float64 {
	half := len(c.set) / len(c.frame) / 2
	start := time.Now()
	for i := range n {
		copy(c.slot(i%half), c.slot(half+i%half))
	}
	return float64(n) / time.Since(start).Seconds()
}

// hand copies n frames into the set while another core reads every cache line of what is there, with nothing but two
// counters between, and returns frames a second.
func (c *copier) hand(n int) float64 {
	var written, read atomic.Int64
	var sum uint64
	slots := len(c.set) / len(c.frame)
	var reading sync.WaitGroup
	start := time.Now()
	reading.Go(func() {
		for i := range n {
			for written.Load() <= int64(i) {
				runtime.Gosched()
			}
			sum += lines(c.slot(i))
			read.Add(1)
		}
	})
	for i := range n {
		for int64(i-slots) >= read.Load() {
			runtime.Gosched()
		}
		copy(c.slot(i), c.frame)
		written.Add(1)
	}
	reading.Wait()
	return float64(n) / time.Since(start).Seconds()
}

// lines reads a word of every cache line and returns their sum.
func lines(p []byte) (sum uint64) {
	for ; len(p) >= 64; p = p[64:] {
		sum += binary.LittleEndian.Uint64(p)
	}
	return sum
}

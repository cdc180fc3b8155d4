package vfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Queue hands writes and syncs to the kernel and waits for their ends at one place (Linux' AIO, io_submit(2)). A
// goroutine that waits for the disk then has no thread that sits in a system call: such threads keep a processor of the
// runtime from the goroutines that have work, and the runtime wakes up every 20 µs to take it from them.
// Its methods may be called concurrently.
type Queue struct {
	ctx   uintptr  // the kernel's context
	event *os.File // an eventfd: there are ended operations
	done  chan struct{}

	mu      sync.Mutex
	pending map[uint64]*operation // guarded by mu, as what follows
	last    uint64
	free    []*operation
}

// operation is one request and its result.
type operation struct {
	cb    iocb
	vec   []unix.Iovec
	ended chan struct{} // has a token when res is valid
	res   int64         // bytes, or a negated errno
}

// iocb is struct iocb of <linux/aio_abi.h> on little-endian machines.
type iocb struct {
	data     uint64
	key      uint32
	rwFlags  int32
	opcode   uint16
	priority int16
	fd       uint32
	buf      uint64
	nbytes   uint64
	offset   int64
	reserved uint64
	flags    uint32
	resfd    uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

const (
	opFdatasync = 3
	opPwritev   = 8
	flagResfd   = 1
)

// NewQueue makes a queue for depth operations at a time. The error wraps [errors.ErrUnsupported] where the system has
// none to give.
func NewQueue(depth int) (*Queue, error) {
	q := &Queue{done: make(chan struct{}), pending: map[uint64]*operation{}}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(depth), uintptr(unsafe.Pointer(&q.ctx)), 0); errno != 0 {
		return nil, fmt.Errorf("%w: io_setup: %w", errors.ErrUnsupported, errno)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		q.destroy()
		return nil, fmt.Errorf("%w: eventfd: %w", errors.ErrUnsupported, err)
	}
	q.event = os.NewFile(uintptr(fd), "eventfd")
	go q.reap()
	return q, nil
}

func (q *Queue) destroy() { unix.Syscall(unix.SYS_IO_DESTROY, q.ctx, 0, 0) }

// Close ends the queue, on which nothing may be at work.
func (q *Queue) Close() error {
	err := q.event.Close()
	<-q.done
	q.destroy()
	return err
}

// reap gives out results until the queue is closed.
func (q *Queue) reap() {
	defer close(q.done)
	var count [8]byte
	events := make([]ioEvent, 64)
	for {
		if _, err := q.event.Read(count[:]); err != nil {
			return
		}
		for want := binary.NativeEndian.Uint64(count[:]); want > 0; {
			var now unix.Timespec
			n, _, errno := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, q.ctx, 0, uintptr(len(events)),
				uintptr(unsafe.Pointer(&events[0])), uintptr(unsafe.Pointer(&now)), 0)
			if errno != 0 || n == 0 {
				break
			}
			q.mu.Lock()
			for _, e := range events[:n] {
				if op := q.pending[e.data]; op != nil {
					delete(q.pending, e.data)
					op.res = e.res
					op.ended <- struct{}{}
				}
			}
			q.mu.Unlock()
		}
	}
}

// do submits an operation and waits for its end. ok is false where the kernel did not take it.
func (q *Queue) do(fill func(op *operation)) (n int, err error, ok bool) {
	q.mu.Lock()
	var op *operation
	if k := len(q.free); k > 0 {
		op, q.free = q.free[k-1], q.free[:k-1]
	} else {
		op = &operation{ended: make(chan struct{}, 1)}
	}
	q.last++
	id := q.last
	q.pending[id] = op
	q.mu.Unlock()
	op.cb = iocb{data: id, flags: flagResfd, resfd: uint32(q.eventFD())}
	fill(op)
	cb := &op.cb
	_, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.ctx, 1, uintptr(unsafe.Pointer(&cb)))
	if errno != 0 {
		q.mu.Lock()
		delete(q.pending, id)
		q.free = append(q.free, op)
		q.mu.Unlock()
		return 0, errno, errno != unix.EAGAIN && errno != unix.EINVAL && errno != unix.ENOSYS
	}
	<-op.ended
	res := op.res
	runtime.KeepAlive(op)
	clear(op.vec)
	q.mu.Lock()
	q.free = append(q.free, op)
	q.mu.Unlock()
	if res < 0 {
		return 0, unix.Errno(-res), true
	}
	return int(res), nil, true
}

var eventFDs sync.Map

func (q *Queue) eventFD() uintptr {
	if v, ok := eventFDs.Load(q); ok {
		return v.(uintptr)
	}
	var fd uintptr
	rc, _ := q.event.SyscallConn()
	rc.Control(func(f uintptr) { fd = f })
	eventFDs.Store(q, fd)
	return fd
}

func (q *Queue) writeVec(fd int, bs [][]byte, off int64) (int, error, bool) {
	n, err, ok := q.do(func(op *operation) {
		op.vec = op.vec[:0]
		for _, b := range bs {
			v := unix.Iovec{Base: unsafe.SliceData(b)}
			v.SetLen(len(b))
			op.vec = append(op.vec, v)
		}
		op.cb.opcode, op.cb.fd, op.cb.offset = opPwritev, uint32(fd), off
		op.cb.buf, op.cb.nbytes = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(op.vec)))), uint64(len(op.vec))
	})
	runtime.KeepAlive(bs)
	return n, err, ok
}

func (q *Queue) datasync(fd int) (error, bool) {
	_, err, ok := q.do(func(op *operation) {
		op.cb.opcode, op.cb.fd = opFdatasync, uint32(fd)
	})
	return err, ok
}

var Proto *Queue

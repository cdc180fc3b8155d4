package monitor

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// restTime is for how long nothing is written to what has just held a write up.
const restTime = time.Second

// Output writes to a terminal or a pipe for a bounded time: one that is stopped (Ctrl-S), that nobody reads or that is
// gone loses what is written to it and holds nobody up. Anything else it writes to as it is. Its methods may be called
// concurrently.
type Output struct {
	w     io.Writer
	limit time.Duration // of one write

	mu   sync.Mutex // guards what follows
	file *os.File   // with a description of its own, whose writes have a deadline; nil for what never blocks
	rest time.Time  // until when nothing is tried
}

// NewOutput makes an output of w, whose writes take at most limit. Close it.
func NewOutput(w io.Writer, limit time.Duration) *Output {
	o := &Output{w: w, limit: limit}
	f, ok := w.(*os.File)
	if !ok {
		return o
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return o
	}
	// The inherited description is shared with other processes: making it non-blocking would confuse them.
	own, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err == nil {
		o.file = own
	}
	return o
}

var _ io.WriteCloser = (*Output)(nil)

// Write writes b, or loses it.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return o.w.Write(b)
	}
	now := time.Now()
	if now.Before(o.rest) {
		return 0, os.ErrDeadlineExceeded
	}
	if err := o.file.SetWriteDeadline(now.Add(o.limit)); err != nil {
		return o.w.Write(b) // a device that knows no waiting, such as /dev/null
	}
	n, err := o.file.Write(b)
	if err != nil {
		o.rest = time.Now().Add(restTime)
	}
	return n, err
}

// Close gives the output's own description up, not what it was made of.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

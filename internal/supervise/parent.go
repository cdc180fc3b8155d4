package supervise

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// The variables by which a supervisor talks to a child.
const (
	parentVar   = config.ParentVar
	restartsVar = "SLUICE_RESTARTS"
)

// WatchParent returns a context that ends with ctx, or with the cause ErrParentGone when the supervisor that
// started this process is gone. Without a supervisor it is ctx. stop ends the watch and waits for it.
func WatchParent(ctx context.Context, getenv func(string) string) (watched context.Context, stop func(), err error) {
	v := getenv(parentVar)
	if v == "" {
		return ctx, func() {}, nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, nil, exit.Errorf(exit.Usage, "%s: %q is not a file descriptor: only sluice run sets it", parentVar, v)
	}
	var info syscall.Stat_t
	if err := syscall.Fstat(fd, &info); err != nil || info.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, nil, exit.Errorf(exit.Usage, "%s: file descriptor %d is not a pipe: only sluice run sets it", parentVar, fd)
	}
	// Our output goes through a pipe to the supervisor. Once it is gone, a log line must not end us.
	signal.Ignore(syscall.SIGPIPE)
	syscall.CloseOnExec(fd)
	// A description of our own: the inherited one is shared with the supervisor's other children, and whoever of them
	// makes it blocking would have our Close wait for the supervisor's end.
	pipe, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("watching the supervisor: %w", err)
	}
	watched, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Nobody ever writes: the end of the pipe is the only news, and that of our own Close means nothing.
		if n, err := pipe.Read(make([]byte, 1)); n == 0 && err != nil && !closed(err) {
			cancel(ErrParentGone)
		}
	}()
	return watched, func() {
		pipe.Close()
		<-done
		cancel(nil)
	}, nil
}

package analysis

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Niceness is the CPU priority of analysers: lower than that of those who must not lose frames.
const Niceness = 10

// LowerPriority gives every thread of this process the niceness, which threads made later inherit. On Linux
// each thread has its own, and the Go runtime has made some before main begins.
func LowerPriority(niceness int) error {
	done := map[string]bool{}
	for fresh := true; fresh; {
		fresh = false
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("listing this process's threads: %w", err)
		}
		for _, e := range entries {
			if done[e.Name()] {
				continue
			}
			id, err := strconv.Atoi(e.Name())
			if err != nil {
				return fmt.Errorf("listing this process's threads: %w", err)
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("lowering the priority of thread %d: %w", id, err)
			}
			done[e.Name()], fresh = true, true
		}
	}
	return nil
}

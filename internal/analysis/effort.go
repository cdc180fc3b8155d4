package analysis

import (
	"sync"

	"github.com/sluicedaq/sluice/internal/occupancy"
)

// effort keeps the analyser's stopwatch: it is starved while its loop waits for frames and no worker has one in hand. All methods
// may be called concurrently.
type effort struct {
	watch *occupancy.Stopwatch

	mu      sync.Mutex // guards what follows
	waiting bool       // the loop, for a delivery
	working int        // frames in workers' hands
}

// wait says that the loop begins to wait for a delivery, or that one has come.
func (e *effort) wait(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = on
	if !on {
		e.watch.Switch(occupancy.Busy)
		return
	}
	e.show()
}

// work says that workers have n more frames in hand.
func (e *effort) work(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.working += n
	if e.waiting {
		e.show()
	}
}

// show is called with the lock held while the loop waits.
func (e *effort) show() {
	if e.working > 0 {
		e.watch.Switch(occupancy.Busy)
	} else {
		e.watch.Switch(occupancy.Starved)
	}
}

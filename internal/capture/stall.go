package capture

import (
	"sync"
	"time"
)

// stallSteps is how often a watchdog looks within its limit.
const stallSteps = 10

// watchdog calls stalled when it is not stopped within a limit. Time in which this process did not run, stopped or on a
// host that slept, does not count: the camera is not to blame for it.
type watchdog struct {
	step    time.Duration
	stalled func()

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	left  int       // steps, 0 while nothing is watched
	due   time.Time // the end of the step
}

// newWatchdog makes a watchdog that does not watch yet.
func newWatchdog(limit time.Duration, stalled func()) *watchdog {
	return &watchdog{step: max(limit/stallSteps, 1), stalled: stalled}
}

// start begins to watch, for the whole limit.
func (w *watchdog) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.due = stallSteps, time.Now().Add(w.step)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.step, w.look)
		return
	}
	w.timer.Reset(w.step)
}

// stop ends the watch.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = 0
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) look() {
	if w.over(time.Now()) {
		w.stalled()
	}
}

// over takes the end of a step, and reports whether it was the last one.
func (w *watchdog) over(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := now.Sub(w.due)
	switch {
	case w.left == 0 || late < 0: // stopped, or started again, in the last moment
		return false
	case late > w.step: // nobody ran
		w.left = stallSteps
	default:
		w.left--
	}
	if w.left == 0 {
		return true
	}
	w.due = now.Add(w.step)
	w.timer.Reset(w.step)
	return false
}

// standstill measures how long a number does not change, without the time in which this process did not run.
type standstill struct {
	every         time.Duration // between two looks
	last          uint64
	moved, looked time.Time
}

func newStandstill(every time.Duration) *standstill {
	now := time.Now()
	return &standstill{every: every, moved: now, looked: now}
}

// look takes the number, and returns for how long it has been the same.
func (s *standstill) look(n uint64, now time.Time) time.Duration {
	if away := now.Sub(s.looked); away > stallSteps*s.every {
		s.moved = s.moved.Add(away)
	}
	if s.looked = now; n != s.last {
		s.last, s.moved = n, now
	}
	return now.Sub(s.moved)
}

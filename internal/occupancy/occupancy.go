// Package occupancy has a stopwatch that splits the time of one worker among what it does: it works, it waits
// for something to work on, or it waits for somebody to take its results. The shares tell which part of a
// chain is the slow one.
package occupancy

import (
	"sync"
	"time"
)

// State is what a worker does.
type State uint8

// The states.
const (
	Starved State = iota // it waits for input
	Busy                 // it works
	Blocked              // it waits for room, a disk or a peer
	states
)

var stateNames = [...]string{"starved", "busy", "blocked"}

// String is the state's name in status messages.
func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return "invalid"
}

// Stopwatch measures one worker, which starts out starved. All methods may be called concurrently. The zero
// value is not ready: use New.
type Stopwatch struct {
	mu    sync.Mutex // guards what follows
	state State
	since time.Time // of the state, or of the last call of Shares where that is later
	spent [states]time.Duration
}

// Shares are the parts of an interval spent in each state. They add up to 1, or to 0 when it had no length.
type Shares struct {
	Busy, Starved, Blocked float64
	// Interval is what they are shares of.
	Interval time.Duration
}

// New starts a stopwatch.
func New() *Stopwatch { return &Stopwatch{since: time.Now()} }

// Switch ends the present state, begins s and returns the state that ended, so that a caller can restore it:
//
//	defer w.Switch(w.Switch(occupancy.Blocked))
//
// A state that is not defined is ignored.
func (w *Stopwatch) Switch(s State) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.state
	if s < states && s != was {
		w.charge(time.Now())
		w.state = s
	}
	return was
}

// Shares returns how the time since the last call, or since New, was spent, and begins a new interval.
func (w *Stopwatch) Shares() Shares {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.charge(time.Now())
	spent := w.spent
	w.spent = [states]time.Duration{}
	sum := spent[Busy] + spent[Starved] + spent[Blocked]
	if sum == 0 {
		return Shares{}
	}
	return Shares{
		Busy:     spent[Busy].Seconds() / sum.Seconds(),
		Starved:  spent[Starved].Seconds() / sum.Seconds(),
		Blocked:  spent[Blocked].Seconds() / sum.Seconds(),
		Interval: sum,
	}
}

// charge counts the time up to now, which is monotonic, for the present state. Called with the lock held.
func (w *Stopwatch) charge(now time.Time) {
	w.spent[w.state] += now.Sub(w.since)
	w.since = now
}

package backpressure

import (
	"fmt"
	"time"
)

// State says how a budget stands; the package comment defines when it changes.
type State uint8

// The states, in order of pressure.
const (
	Open      State = iota // at most the high watermark is used, or fell to the low one since
	Throttled              // more than the high watermark was used: whoever can should slow down
	Full                   // something did not fit
)

var stateNames = [...]string{"open", "throttled", "full"}

// String is the state's name: open, throttled or full.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) {
	if int(s) >= len(stateNames) {
		return nil, fmt.Errorf("%w: %s", ErrPolicy, s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *State) UnmarshalText(b []byte) error {
	i, err := parse("state", stateNames[:], string(b))
	if err != nil {
		return err
	}
	*s = State(i)
	return nil
}

// Transition is one change of a budget's state.
type Transition struct {
	From, To State
	// Used is the number of bytes in use right after the operation that made the change, Limit the bound.
	Used, Limit int64
	Time        time.Time
}

// Gauge is a budget at one moment.
type Gauge struct {
	// Used is what is acquired and not released, Limit the bound, Peak the most that was ever used, in bytes.
	Used, Limit, Peak int64
	// High and Low are the watermarks in bytes.
	High, Low int64
	State     State
	// Since is when the budget came into its state.
	Since time.Time
	// Waiters is the number of callers that wait in Acquire.
	Waiters int
	// Throttled and Full are the times spent in these states so far, the current stay included.
	Throttled, Full time.Duration
}

package backpressure

import (
	"fmt"
	"strings"
)

// Policy is what a [Queue] does with an element that does not fit.
type Policy uint8

// The policies of queues.
const (
	// Block lets Put wait until the element fits. Nothing is dropped.
	Block Policy = iota
	// DropNewest drops the element that is being put.
	DropNewest
	// DropOldest drops elements that were put first until the new one fits.
	DropOldest
	// Latest drops as DropOldest does, and Get returns the newest element first.
	Latest
)

var policyNames = [...]string{"block", "drop-newest", "drop-oldest", "latest"}

// String is the policy's name: block, drop-newest, drop-oldest or latest.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// MarshalText implements [encoding.TextMarshaler].
func (p Policy) MarshalText() ([]byte, error) {
	if int(p) >= len(policyNames) {
		return nil, fmt.Errorf("%w: %s", ErrPolicy, p)
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Policy) UnmarshalText(b []byte) error {
	i, err := parse("queue policy", policyNames[:], string(b))
	if err != nil {
		return err
	}
	*p = Policy(i)
	return nil
}

// OnFull is what a run does when its budget is full.
type OnFull uint8

// The policies of runs.
const (
	// Default is Pause where the source can be paused, else Drop: see [OnFull.For].
	Default OnFull = iota
	// Pause stops the source until the budget is open again.
	Pause
	// Drop drops the newest frame and accounts for it.
	Drop
	// Fail ends the run in order: what was captured is kept.
	Fail
)

var onFullNames = [...]string{"", "pause", "drop", "fail"}

// ParseOnFull is the inverse of [OnFull.String]. The empty text is Default.
func ParseOnFull(s string) (OnFull, error) {
	i, err := parse("policy for a full budget", onFullNames[:], s)
	return OnFull(i), err
}

// For is the policy of a source that can or cannot be paused: Default becomes Pause or Drop, the others stay.
func (o OnFull) For(canPause bool) OnFull {
	switch {
	case o != Default:
		return o
	case canPause:
		return Pause
	default:
		return Drop
	}
}

// String is the policy's name: pause, drop, fail, or empty for Default.
func (o OnFull) String() string {
	if int(o) < len(onFullNames) {
		return onFullNames[o]
	}
	return fmt.Sprintf("onfull(%d)", uint8(o))
}

// MarshalText implements [encoding.TextMarshaler].
func (o OnFull) MarshalText() ([]byte, error) {
	if int(o) >= len(onFullNames) {
		return nil, fmt.Errorf("%w: %s", ErrPolicy, o)
	}
	return []byte(o.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *OnFull) UnmarshalText(b []byte) error {
	p, err := ParseOnFull(string(b))
	if err != nil {
		return err
	}
	*o = p
	return nil
}

// parse finds s among names and returns its index; what says what is being named.
func parse(what string, names []string, s string) (int, error) {
	var known []string
	for i, n := range names {
		if n == s {
			return i, nil
		}
		if n != "" {
			known = append(known, n)
		}
	}
	return 0, fmt.Errorf("%w: no %s is called %q: want %s", ErrPolicy, what, s, strings.Join(known, ", "))
}

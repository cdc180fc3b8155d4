package frames

import "fmt"

// State is a frame's entry in a store's state column: what became of one seq.
type State uint8

// The states. The numbers are part of the store's format.
const (
	Absent     State = 0 // not accounted for (yet)
	Durable    State = 1 // its pixels are in the store
	Paused     State = 2 // made by a camera that cannot stop while the run was paused
	Dropped    State = 3 // the budget was full and the policy is drop
	Missed     State = 4 // the camera's frame ids jumped: it never reached the host
	Incomplete State = 5 // it reached the host with parts missing
	Restarted  State = 6 // captured or in capture when acquire died, and not to be had again
	Unwritten  State = 7 // captured, and the writer could not make it durable
	Stopped    State = 8 // not yet durable when the run was stopped hard
	HostLost   State = 9 // not durable when the host died
)

var stateNames = [...]string{"absent", "durable", "paused", "dropped", "missed", "incomplete", "restarted", "unwritten", "stopped", "host lost"}

// String is the name that ledgers and summaries use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Lost reports whether the state is a reason of loss.
func (s State) Lost() bool { return s > Durable && int(s) < len(stateNames) }

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) {
	if int(s) >= len(stateNames) {
		return nil, fmt.Errorf("%w: %s", ErrWire, s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("%w: no state is called %q", ErrWire, b)
}

// Stage is where a frame was lost.
type Stage uint8

// The stages.
const (
	AtCamera  Stage = 1 // before it reached the host's memory
	AtAcquire Stage = 2 // for want of a slot, or with acquire
	AtWriter  Stage = 3 // between the slab and the disk
	AtHost    Stage = 4 // with the host's memory
)

var stageNames = [...]string{"", "camera", "acquire", "writer", "host"}

// String is the name that ledgers use.
func (s Stage) String() string {
	if s > 0 && int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Stage) MarshalText() ([]byte, error) {
	if s == 0 || int(s) >= len(stageNames) {
		return nil, fmt.Errorf("%w: %s", ErrWire, s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Stage) UnmarshalText(b []byte) error {
	for i, n := range stageNames {
		if i > 0 && n == string(b) {
			*s = Stage(i)
			return nil
		}
	}
	return fmt.Errorf("%w: no stage is called %q", ErrWire, b)
}

// Loss is a range of consecutive frames that share the way they were lost.
type Loss struct {
	// Seq is the first frame's; the range is [Seq, Seq+Count). Count is at least 1.
	Seq   uint64
	Count uint64
	// FirstFrameID and LastFrameID are the camera's numbers of both ends, unwrapped.
	FirstFrameID uint64
	LastFrameID  uint64
	// FirstNS and LastNS are the host's times of both ends, nanoseconds since the Unix epoch: when they
	// arrived, or where they never did, when their loss was known.
	FirstNS int64
	LastNS  int64
	Reason  State
	Stage   Stage
}

// End is the seq after the range's last.
func (l Loss) End() uint64 { return l.Seq + l.Count }

// Valid returns an error wrapping [ErrWire] unless l is a range that can exist.
func (l Loss) Valid() error {
	switch {
	case l.Count == 0 || l.Seq+l.Count < l.Seq:
		return fmt.Errorf("%w: loss of %d frames from %d", ErrWire, l.Count, l.Seq)
	case !l.Reason.Lost():
		return fmt.Errorf("%w: %s is not a reason of loss", ErrWire, l.Reason)
	case l.Stage == 0 || int(l.Stage) >= len(stageNames):
		return fmt.Errorf("%w: %s", ErrWire, l.Stage)
	}
	return nil
}

// Follows reports whether l continues prev, so that one range can hold both.
func (l Loss) Follows(prev Loss) bool {
	return prev.End() == l.Seq && prev.Reason == l.Reason && prev.Stage == l.Stage
}

// Join returns the range that holds prev and l, which must follow it.
func (l Loss) Join(prev Loss) Loss {
	prev.Count += l.Count
	prev.LastFrameID, prev.LastNS = l.LastFrameID, l.LastNS
	return prev
}

// Split cuts the range before seq, which must lie inside it. The ends that the cut makes get frame ids in
// step with seq and the times of the nearer end of the whole range.
func (l Loss) Split(seq uint64) (before, after Loss) {
	before, after = l, l
	before.Count = seq - l.Seq
	after.Seq, after.Count = seq, l.End()-seq
	before.LastFrameID = l.FirstFrameID + before.Count - 1
	after.FirstFrameID = l.FirstFrameID + before.Count
	before.LastNS, after.FirstNS = l.FirstNS, l.LastNS
	return before, after
}

package bus

import (
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// State is what a camera's acquire is doing.
type State string

// The states.
const (
	StateIdle     State = "idle"     // no run
	StateArming   State = "arming"   // opening the camera, making the slab, waiting for members
	StateWaiting  State = "waiting"  // armed, waits for start
	StateRunning  State = "running"  // frames are captured
	StatePaused   State = "paused"   // the source is paused, by a user or because the budget is full
	StateDraining State = "draining" // the camera has ended, members still work
	StateFault    State = "fault"    // something needs a person: see the reason
)

// States are all states.
func States() []State {
	return []State{StateIdle, StateArming, StateWaiting, StateRunning, StatePaused, StateDraining, StateFault}
}

// BudgetState is how full the budget is.
type BudgetState string

// The budget's states.
const (
	BudgetOpen      BudgetState = "open"
	BudgetThrottled BudgetState = "throttled" // above the high watermark
	BudgetFull      BudgetState = "full"      // at the limit
)

// BudgetStates are all states of a budget.
func BudgetStates() []BudgetState { return []BudgetState{BudgetOpen, BudgetThrottled, BudgetFull} }

// The states of a member, as acquire sees it.
const (
	MemberLive   = "live"
	MemberHung   = "hung"   // silent
	MemberFailed = "failed" // it said that it cannot go on with this run
	// MemberLeaving was asked to go: it gets no more, unless nobody else is there.
	MemberLeaving = "leaving"
)

// MemberStates are all states of a member.
func MemberStates() []string { return []string{MemberLive, MemberHung, MemberFailed, MemberLeaving} }

// Status is acquire's account of the camera. It is published once a second and is control.status' result.
type Status struct {
	Envelope
	State State `json:"state"`
	// Since is when the state began, Reason why, in words.
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
	Software string    `json:"software"`
	PID      int       `json:"pid"`
	Restarts int       `json:"restarts"` // of acquire
	// Goroutines are acquire's: a number that grows for hours is a leak.
	Goroutines int `json:"goroutines"`
	// Refused counts what acquire did not take from others, by kind, since it was started.
	Refused map[refusal.Kind]uint64 `json:"refused,omitempty"`

	Source   string           `json:"source,omitempty"` // without passwords
	Geometry *frames.Geometry `json:"geometry,omitempty"`
	Store    string           `json:"store,omitempty"` // path on the writer's host
	// Frames is how many frames the run is to produce, 0 where it ends otherwise.
	Frames uint64 `json:"frames,omitempty"`

	Captured     uint64            `json:"captured"`
	Durable      uint64            `json:"durable"`
	InFlight     uint64            `json:"in_flight"` // captured, neither durable nor ledgered
	Lost         uint64            `json:"lost"`
	LostByReason map[string]uint64 `json:"lost_by_reason,omitempty"`
	// Analyzed and Skipped are the frames that the analysers have released and those that they were not given.
	Analyzed uint64 `json:"analyzed"`
	Skipped  uint64 `json:"skipped"`
	// ReadableUntilSeq is the seq up to which a reader finds the store complete.
	ReadableUntilSeq uint64 `json:"readable_until_seq"`

	Rate    Rate     `json:"rate"`
	Budget  Budget   `json:"budget"`
	Members []Member `json:"members,omitempty"`
	// Latency is from capture to release, since acquire was started last.
	Latency *run.Latency `json:"latency,omitempty"`
	// Times are from capture to release too, of all runs since acquire was started last.
	Times *run.Histogram `json:"times,omitempty"`

	// Events counts the events by kind since acquire was started last.
	Events map[Kind]uint64 `json:"events,omitempty"`

	LastRun *run.Summary `json:"last_run,omitempty"`
}

// Rate has frame rates in frames per second and the raw pixel rate.
type Rate struct {
	Nominal        float64 `json:"nominal"`  // 0 where the camera has none
	Measured       float64 `json:"measured"` // captured, over the last second
	Durable        float64 `json:"durable"`  // durable, over the last second
	BytesPerSecond float64 `json:"bytes_per_second"`
}

// Budget is the state of the byte budget.
type Budget struct {
	State  BudgetState `json:"state"`
	Bytes  int64       `json:"bytes"` // in use, the reserve included
	Limit  int64       `json:"limit"`
	Peak   int64       `json:"peak"`
	Holder string      `json:"holder,omitempty"` // the group that holds the most
	// HolderMember is who of the group holds the most, empty where its frames wait for a member.
	HolderMember     string  `json:"holder_member,omitempty"`
	PausedSeconds    float64 `json:"paused_seconds"`
	ThrottledSeconds float64 `json:"throttled_seconds"`
	// SecondsToFull is when the budget will be full at the present rates; absent where it won't.
	SecondsToFull *float64 `json:"seconds_to_full,omitempty"`
}

// Member is what acquire knows of one member.
type Member struct {
	Name    string `json:"name"`
	Group   string `json:"group"`
	Policy  string `json:"policy"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Carrier string `json:"carrier"`
	State   string `json:"state"` // one of MemberStates
	Primary bool   `json:"primary,omitempty"`

	HeldBytes  int64  `json:"held_bytes"`
	HeldFrames uint64 `json:"held_frames"`
	// OldestUnreleasedNS is the age in nanoseconds of the oldest frame that it holds.
	OldestUnreleasedNS int64  `json:"oldest_unreleased_ns,string"`
	Skipped            uint64 `json:"skipped"`
	Redelivered        uint64 `json:"redelivered"`
	Restarts           int    `json:"restarts"`
	// BufferBytes is the memory that it said it takes for the run, beyond what every run takes.
	BufferBytes int64 `json:"buffer_bytes,omitempty"`
	Work
	Writer *WriterStatus `json:"writer,omitempty"`
}

// Work is what a member says of its work in the run.
type Work struct {
	Frames uint64 `json:"frames"` // done
	Bytes  uint64 `json:"bytes"`  // of pixels, done
	// Shares of the last interval's time, 0 to 1.
	Busy    float64 `json:"busy"`
	Starved float64 `json:"starved"` // waits for frames
	Blocked float64 `json:"blocked"` // waits for the disk
}

// WriterStatus is a writer's disk.
type WriterStatus struct {
	Path         string `json:"path"`
	FreeBytes    uint64 `json:"free_bytes"`
	StoredBytes  uint64 `json:"stored_bytes"`
	SyncP50NS    int64  `json:"sync_p50_ns,string"`
	SyncP99NS    int64  `json:"sync_p99_ns,string"`
	DurableP50NS int64  `json:"durable_p50_ns,string"` // capture → durable
	DurableP99NS int64  `json:"durable_p99_ns,string"`
	Direct       bool   `json:"direct"`
	Fallback     string `json:"fallback,omitempty"` // why not direct
}

// MemberStatus is a member's own account, published once a second.
type MemberStatus struct {
	Envelope
	Group    string `json:"group"`
	PID      int    `json:"pid"`
	Software string `json:"software"`
	Restarts int    `json:"restarts"`
	Skipped  uint64 `json:"skipped"`
	RSSBytes int64  `json:"rss_bytes"` // anonymous memory
	// Goroutines are the member's: a number that grows for hours is a leak.
	Goroutines int  `json:"goroutines"`
	Joined     bool `json:"joined"` // whether acquire has it as a member
	// Refused counts what the member did not take from others, by kind, since it was started.
	Refused map[refusal.Kind]uint64 `json:"refused,omitempty"`
	// LastSync is when a writer's disk has confirmed something last, absent where it has not since the process was started.
	LastSync *time.Time `json:"last_sync,omitempty"`
	// SyncTimes and DurableTimes are a writer's: of a sync, and from capture to durable, of all runs since it was started.
	SyncTimes    *run.Histogram `json:"sync_times,omitempty"`
	DurableTimes *run.Histogram `json:"durable_times,omitempty"`
	Work                        // of the run
	Writer       *WriterStatus  `json:"writer,omitempty"`
}

package bus

import (
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Backpressure is one transition of the budget's state.
type Backpressure struct {
	Envelope
	// N numbers the transitions of the run from 1.
	N      uint64      `json:"n"`
	From   BudgetState `json:"from"`
	To     BudgetState `json:"to"`
	Bytes  int64       `json:"bytes"`
	Limit  int64       `json:"limit"`
	Holder string      `json:"holder"` // the group that holds the most
	// HolderMember is who of the group holds the most, empty where its frames wait for a member.
	HolderMember string `json:"holder_member,omitempty"`
	Seq          uint64 `json:"seq"`              // the next frame's
	Action       string `json:"action,omitempty"` // what is done about it: "pause", "drop", "fail", "resume"
}

// Kind is what an event is about.
type Kind string

// The kinds, and the field of Event that each sets.
const (
	EventArmed           Kind = "armed"            // Armed
	EventStarted         Kind = "started"          //
	EventShardSealed     Kind = "shard_sealed"     // Shard
	EventMemberJoined    Kind = "member_joined"    // Member
	EventMemberLost      Kind = "member_lost"      // Member
	EventMemberLeft      Kind = "member_left"      // Member
	EventMemberHung      Kind = "member_hung"      // Member
	EventMemberRestarted Kind = "member_restarted" // Member
	EventFramesLost      Kind = "frames_lost"      // Loss
	EventPaused          Kind = "paused"           // Seq
	EventResumed         Kind = "resumed"          // Seq, PausedNS
	EventCameraStalled   Kind = "camera_stalled"   // Seq
	EventCameraFailed    Kind = "camera_failed"    // Seq
	EventDiskLow         Kind = "disk_low"         // Disk
	EventRefused         Kind = "refused"          // Code
	EventStopping        Kind = "stopping"         // Seq
	EventDrained         Kind = "drained"          // Seq
	EventFinished        Kind = "finished"         // Summary
	EventFault           Kind = "fault"            // Code
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{
		EventArmed, EventStarted, EventShardSealed, EventMemberJoined, EventMemberLost, EventMemberLeft, EventMemberHung, EventMemberRestarted,
		EventFramesLost, EventPaused, EventResumed, EventCameraStalled, EventCameraFailed, EventDiskLow, EventRefused, EventStopping,
		EventDrained, EventFinished, EventFault,
	}
}

// Event is something that happened to the camera or its run. Text says it in one line for people; of the
// other fields those of its kind are set.
type Event struct {
	Envelope
	// N numbers acquire's events of the run from 1: a gap is an event that got lost on the way.
	N    uint64 `json:"n"`
	Kind Kind   `json:"kind"`
	Text string `json:"text"`

	Seq      uint64       `json:"seq,omitempty"` // the next frame's
	PausedNS int64        `json:"paused_ns,string,omitempty"`
	Code     int          `json:"code,omitempty"` // exit code of the error that Text tells
	Armed    *Armed       `json:"armed,omitempty"`
	Shard    *ShardEvent  `json:"shard,omitempty"`
	Member   *MemberEvent `json:"member,omitempty"`
	Loss     *Loss        `json:"loss,omitempty"`
	Disk     *DiskEvent   `json:"disk,omitempty"`
	Summary  *run.Summary `json:"summary,omitempty"`
}

// ShardEvent is a sealed shard.
type ShardEvent struct {
	Shard  uint64 `json:"shard"`
	Epoch  uint64 `json:"epoch"`
	Writer string `json:"writer"`
	// ReadableUntilSeq is the seq up to which a reader now finds the store complete.
	ReadableUntilSeq uint64 `json:"readable_until_seq"`
}

// MemberEvent is a member that came, went or came back.
type MemberEvent struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	// Frames and Bytes are what it held when it went.
	Frames uint64 `json:"frames,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// What EventMemberHung is about, as Reason says it.
const (
	ReasonSilent    = "silent"     // nothing was heard of the member; Frames and Bytes are what it holds
	ReasonTakenBack = "taken_back" // the frame of Event.Seq was taken back from it, unreleased
)

// DiskEvent is a disk that gets full.
type DiskEvent struct {
	Writer    string `json:"writer"`
	Path      string `json:"path"`
	FreeBytes uint64 `json:"free_bytes"`
	// SecondsLeft is how long it lasts at the present rate.
	SecondsLeft float64 `json:"seconds_left"`
}

// Loss is frames that share the way they were lost: a range, or several.
type Loss struct {
	Seq          uint64       `json:"seq"`
	Count        uint64       `json:"count"`
	FirstFrameID uint64       `json:"first_frame_id"`
	LastFrameID  uint64       `json:"last_frame_id"`
	FirstNS      int64        `json:"first_ns,string"` // Unix time
	LastNS       int64        `json:"last_ns,string"`
	Reason       frames.State `json:"reason"`
	Stage        frames.Stage `json:"stage"`
	// Ranges and EndSeq are set where there are several ranges: Count frames in so many, between Seq and EndSeq.
	Ranges uint64 `json:"ranges,omitempty"`
	EndSeq uint64 `json:"end_seq,omitempty"`
}

// LossOf is l as a message has it.
func LossOf(l frames.Loss) *Loss {
	return &Loss{
		Seq: l.Seq, Count: l.Count, FirstFrameID: l.FirstFrameID, LastFrameID: l.LastFrameID,
		FirstNS: l.FirstNS, LastNS: l.LastNS, Reason: l.Reason, Stage: l.Stage,
	}
}

package dispatch

import "github.com/sluicedaq/sluice/pkg/frames"

// FactKind is what a Fact is about.
type FactKind string

// The kinds, and the fields of Fact that each sets besides Run and Member.
const (
	MemberJoined    FactKind = "member joined"    // Group, PID
	MemberRestarted FactKind = "member restarted" // Group, PID
	MemberLost      FactKind = "member lost"      // Group, PID, Frames, Reason
	MemberLeft      FactKind = "member left"      // Group, PID
	MemberFailed    FactKind = "member failed"    // Reason
	MemberRefused   FactKind = "member refused"   // Reason
	Reclaimed       FactKind = "reclaimed"        // Group, PID, Frames, Seq
	ShardSealed     FactKind = "shard sealed"     // Shard, Epoch, ReadableUntil
	FramesLost      FactKind = "frames lost"      // Loss
)

// Fact is something that happened among the members.
type Fact struct {
	Kind   FactKind
	Run    frames.RunID // zero where there is none
	Member string
	Group  string
	PID    int
	Frames int // that it held
	Reason string
	Seq    uint64
	Shard  uint64
	Epoch  uint64
	// ReadableUntil is the seq up to which every shard is sealed.
	ReadableUntil uint64
	Loss          frames.Loss
}

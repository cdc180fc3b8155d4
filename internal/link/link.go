// Package link carries frame descriptors from acquire to the members of its groups, and releases back, so
// that nothing is lost, doubled or out of order although the transport may do all three.
//
// A Conn is one connection between acquire and one member. Packets of each direction are numbered; the
// receiver confirms the highest number up to which it has all; the sender repeats what is unconfirmed.
// Who gets which frame is decided elsewhere (package dispatch); which bytes travel is the carrier's affair.
package link

import (
	"context"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Policy is what a group is promised.
type Policy string

// The policies.
const (
	Lossless Policy = "lossless" // every frame, held until it is released
	Latest   Policy = "latest"   // the newest frame it can keep up with; skipped ones are counted
)

// Conn is one end of a connection between acquire and one member. All methods may be called concurrently,
// but only one goroutine receives.
type Conn interface {
	// Send queues a message and returns at once. It is delivered exactly once and in order while both ends
	// live. The body is not kept after the return. The error is that of Err.
	Send(kind frames.Kind, body []byte) error
	// Receive waits for the next message. Its body is the caller's. It returns the context's error, or, when
	// the connection ended and every message before the end was received, an error wrapping that of Err.
	Receive(ctx context.Context) (frames.Kind, []byte, error)
	// Peer describes the other end: as it joined and by its latest heartbeat.
	Peer() Peer
	// Err is nil while the connection lives, then why it ended: it wraps ErrPeerDead, ErrReset or ErrClosed.
	Err() error
	// Done is closed when the connection has ended.
	Done() <-chan struct{}
	// Close ends the connection on this side and frees what it holds. The other side finds out by itself.
	Close() error
}

// Listener is acquire's door.
type Listener interface {
	// Accept waits for the next member that asked to join and was let in.
	Accept(ctx context.Context) (Conn, error)
	// Close ends every connection.
	Close() error
}

// Dialer joins a camera's acquire.
type Dialer interface {
	// Dial asks until it is answered, refused (an error wrapping ErrRefused) or ctx ends.
	Dial(ctx context.Context, j Join) (Conn, error)
}

// Join is a member's request: JSON on the wire.
type Join struct {
	V     int    `json:"v"`
	Group string `json:"group"`
	Name  string `json:"name"` // unique among the camera's members; like a camera's name
	PID   int    `json:"pid"`
	Host  string `json:"host"`
	// Nonce is the process's: a member that joins again keeps it, one that was started again has another.
	Nonce string `json:"nonce"`
	// Conn is the number of the connection to be made, random, the same in repeats of one request.
	Conn uint64 `json:"conn,string"`
	// Run and Claims are what a member that was here before still holds: shards it owns and has not sealed.
	Run    frames.RunID `json:"run,omitzero"`
	Claims []Claim      `json:"claims,omitempty"`
	// Restarts counts how often the member's supervisor has started it again.
	Restarts int `json:"restarts,omitempty"`
	// Carriers are the ways on which the member can take pixels; none means the slab alone. A member that can take
	// them by JetStream need not live on acquire's host.
	Carriers []string `json:"carriers,omitempty"`
}

// Welcome is acquire's answer to Join: JSON on the wire. The connection stands, or Refused says why not.
type Welcome struct {
	V       int    `json:"v"`
	Refused string `json:"refused,omitempty"`
}

// Claim is a shard that a rejoining writer owns.
type Claim struct {
	Shard uint64 `json:"shard"`
	Epoch uint64 `json:"epoch"`
}

// Armed is the body of frames.KindArmed.
type Armed struct {
	Spec   run.Spec `json:"spec"`
	Slab   string   `json:"slab"` // path of the slab's file
	Policy Policy   `json:"policy"`
	// Primary names the one member of the group that creates and completes the store (writer) or combines
	// the partial series (analyze).
	Primary string `json:"primary"`
	// Resumed is set when the run already has frames: the store exists.
	Resumed bool `json:"resumed,omitempty"`
	// NeedBytes is the free space that the run will need on the writers' disk, 0 where that is not known or
	// not to be asked for. The primary refuses the run where there is less.
	NeedBytes uint64 `json:"need_bytes,omitempty"`
	// Clock is what the frames' HostNS are of. A consumer whose pixels come from another host gets the zero one.
	Clock clock.Run `json:"clock"`
}

// Ready is the body of frames.KindReady: the answer to Armed.
type Ready struct {
	Run frames.RunID `json:"run"`
	// Error is empty, or one line that says why the member refuses the run.
	Error string `json:"error,omitempty"`
	// Usage is set when the error is the user's to mend (exit code 2), DiskFull when there is no room (exit code 5).
	Usage    bool `json:"usage,omitempty"`
	DiskFull bool `json:"disk_full,omitempty"`
	// Path and FreeBytes are a writer's: the store's absolute path, and the free space of its disk.
	Path      string `json:"path,omitempty"`
	FreeBytes uint64 `json:"free_bytes,omitempty"`
	// BufferBytes is the memory that the member takes for this run beyond what every run takes: buffers for pixels, the
	// planes of a transform, series.
	BufferBytes int64 `json:"buffer_bytes,omitempty"`
	// Carrier is the way that the member has found to the run's pixels; empty is the slab. Window is how many frames it
	// has memory for, where they are brought to it.
	Carrier string `json:"carrier,omitempty"`
	Window  int    `json:"window,omitempty"`
}

// End is the body of frames.KindEnd: no frame from Captured on exists.
type End struct {
	Run      frames.RunID `json:"run"`
	Captured uint64       `json:"captured"`
}

// Finish is the body of frames.KindFinish: every shard is sealed; complete the metadata. Its Summary has
// everything but what only the store knows (Written, Lost, LostByReason, Bytes, StoredBytes).
type Finish struct {
	Run     frames.RunID `json:"run"`
	Summary run.Summary  `json:"summary"`
}

// Finished is the body of frames.KindFinished: the answer to Finish.
type Finished struct {
	Run   frames.RunID `json:"run"`
	Error string       `json:"error,omitempty"`
	// Summary is completed from the store; a member that owns no shards has none.
	Summary run.Summary `json:"summary,omitzero"`
}

// Closed is the body of frames.KindClosed: forget the run.
type Closed struct {
	Run frames.RunID `json:"run"`
	// Left is set when the run goes on with others: the member has said that it leaves, and has nothing in hand any more.
	Left bool `json:"left,omitempty"`
}

// Failed is the body of frames.KindFailed.
type Failed struct {
	Run      frames.RunID `json:"run"`
	Error    string       `json:"error"`
	DiskFull bool         `json:"disk_full,omitempty"`
	// Shards, where DiskFull is set and they are named, are those that the disk has no room for: the member stays, and
	// ledgers the frames that it can't write. Without them it is out, and its shards go to others.
	Shards []uint64 `json:"shards,omitempty"`
	// Broken is set when the disk has answered with an error: the member ends, and started again it may go on with what
	// it has not released.
	Broken bool `json:"broken,omitempty"`
}

// Event is the body of frames.KindEvent: one line for events.jsonl, already JSON.
type Event []byte

// Health is a heartbeat's body: the sender's state, newest wins.
type Health struct {
	// Shares of the last interval's time, 0 to 1.
	Busy    float64 `json:"busy"`
	Starved float64 `json:"starved"`
	Blocked float64 `json:"blocked"`

	Frames  uint64 `json:"frames"`            // done in this run
	Bytes   uint64 `json:"bytes"`             // of pixels, done in this run
	Skipped uint64 `json:"skipped,omitempty"` // by a latest member: reclaimed while it read
	// Leaving says that the member was asked to go: it should be given no more, and goes when it is told Closed.
	Leaving bool `json:"leaving,omitempty"`

	// A writer's.
	Path         string `json:"path,omitempty"`
	FreeBytes    uint64 `json:"free_bytes,omitempty"`
	StoredBytes  uint64 `json:"stored_bytes,omitempty"`
	SyncP50NS    int64  `json:"sync_p50_ns,string,omitempty"`
	SyncP99NS    int64  `json:"sync_p99_ns,string,omitempty"`
	DurableP50NS int64  `json:"durable_p50_ns,string,omitempty"` // capture → durable
	DurableP99NS int64  `json:"durable_p99_ns,string,omitempty"`
	Direct       bool   `json:"direct,omitempty"`
	Fallback     string `json:"fallback,omitempty"` // why not direct
	// ReadableUntil is the seq up to which a reader finds the store complete.
	ReadableUntil uint64 `json:"readable_until,omitempty"`
}

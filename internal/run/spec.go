// Package run has the plain data that describes one acquisition to every process: what it is (Spec) and how
// it ended (Summary). It decides nothing.
package run

import (
	"time"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Spec is what is fixed about a run when it is armed. It travels to members in the link's armed message and
// into the store's attributes.
type Spec struct {
	Run      frames.RunID    `json:"run"`
	Camera   string          `json:"camera"`
	Geometry frames.Geometry `json:"geometry"`
	// FPS is the nominal frame rate in frames per second, 0 where the camera has none.
	FPS float64 `json:"fps"`
	// Frames is how many frames the run is to produce, 0 where it ends otherwise.
	Frames uint64 `json:"frames,omitempty"`
	// ShardFrames is K: frame seq belongs to shard seq / K.
	ShardFrames uint64 `json:"shard_frames"`
	// Store is the store's folder name below the writer's root. It has no path separator.
	Store string `json:"store"`
	// Codec is "none", "zstd" or "blosc-zstd". Level is zstd's, 1 to 22, or Blosc's, 1 to 9: klauspost/compress maps them
	// to its own four.
	Codec string `json:"codec"`
	Level int    `json:"level,omitempty"`
	// PixelSizeUM is the edge of a pixel in micrometres, 0 where unknown.
	PixelSizeUM float64           `json:"pixel_size_um,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	Device      Device            `json:"device"`
	// Source is the URI that was asked for, without passwords.
	Source   string         `json:"source"`
	Config   map[string]any `json:"config,omitempty"` // the effective configuration
	Software string         `json:"software"`         // "sluice v0.1.0 (commit)"
	Host     string         `json:"host"`
	Started  time.Time      `json:"started"`
	// Continues is the store of an earlier run that this one goes on from, empty where there is none.
	Continues string `json:"continues,omitempty"`
}

// Device describes the camera of a run.
type Device struct {
	Model           string            `json:"model"`
	Serial          string            `json:"serial,omitempty"`
	Settings        map[string]string `json:"settings,omitempty"`
	SignificantBits int               `json:"significant_bits"`
	// Clock says which clock the device timestamps are of, Stamps which instant of a frame they mark.
	Clock  string `json:"clock"`
	Stamps string `json:"stamps"`
}

// Shards is the number of shards that captured frames fill, the last one perhaps in part.
func (s Spec) Shards(captured uint64) uint64 {
	return (captured + s.ShardFrames - 1) / s.ShardFrames
}

// Shard is the shard that a frame belongs to.
func (s Spec) Shard(seq uint64) uint64 { return seq / s.ShardFrames }

// Summary is the account of a finished run: the last line of `sluice run --json`, the body of the finished
// event, and part of the store's attributes.
type Summary struct {
	V        int          `json:"v"` // 1
	Run      frames.RunID `json:"run"`
	Store    string       `json:"store"` // path on the writer's host
	Camera   string       `json:"camera"`
	Source   string       `json:"source"`
	Shape    []int        `json:"shape"` // of the whole array: (t, y, x) or (t, c, y, x)
	Dtype    frames.Dtype `json:"dtype"`
	Captured uint64       `json:"captured"`
	Written  uint64       `json:"written"`
	Lost     uint64       `json:"lost"`
	// LostByReason counts lost frames by the name of their frames.State.
	LostByReason map[string]uint64 `json:"lost_by_reason"`
	Analyzed     uint64            `json:"analyzed"`
	Skipped      uint64            `json:"skipped"` // by the latest groups
	Bytes        uint64            `json:"bytes"`   // raw pixels of the written frames
	StoredBytes  uint64            `json:"stored_bytes"`
	// Seconds is from the first capture to the last durable frame, DrainSeconds from the end of capture.
	Seconds          float64  `json:"seconds"`
	DrainSeconds     float64  `json:"drain_seconds"`
	BudgetBytes      int64    `json:"budget_bytes"`
	PeakBudgetBytes  int64    `json:"peak_budget_bytes"`
	ThrottledSeconds float64  `json:"throttled_seconds"`
	PausedSeconds    float64  `json:"paused_seconds"`
	Restarts         int      `json:"restarts"` // of any process during the run
	EndedBy          string   `json:"ended_by"` // one of the Ended… words
	Warnings         []string `json:"warnings"`
	// Latency is from capture to release; absent where no frame was released.
	Latency *Latency `json:"latency,omitempty"`
	// Processes is what each process used: `sluice run` alone knows it.
	Processes []Process `json:"processes,omitempty"`
}

// What ended a run.
const (
	EndedFrames      = "frames"      // the asked number was produced
	EndedDuration    = "duration"    // the asked time was over
	EndedSource      = "source"      // a finite source was read to its end
	EndedStop        = "stop"        // asked to stop
	EndedFull        = "full"        // the budget was full under the policy fail
	EndedCamera      = "camera"      // the camera failed
	EndedStalled     = "stalled"     // the camera stopped sending
	EndedDiskFull    = "disk full"   // the store's disk is full
	EndedWriter      = "writer"      // the writers failed otherwise, or none was left
	EndedHard        = "hard stop"   // a second interrupt
	EndedDeadline    = "deadline"    // the drain took too long: the rest was given up
	EndedInterrupted = "interrupted" // acquire died and the run could not go on
)

package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Control is what acquire does when it is asked over the control subjects. Its methods may be called
// concurrently. An *exit.Error among the errors keeps its code on the way to the asker.
type Control interface {
	// Arm makes everything ready for a run: camera, slab, members, store. It refuses while there is a run, unless that
	// is the one that the request names.
	Arm(ctx context.Context, r ArmRequest) (Armed, error)
	// Start lets an armed run begin. One that the request names may have begun already.
	Start(ctx context.Context, r RunRequest) (Ack, error)
	// Stop ends the run and returns at once, while it drains; of an armed run nothing stays.
	Stop(ctx context.Context, r StopRequest) (Ack, error)
	// Pause stops the source, or for one that can't stop, lets its frames go to the ledger.
	Pause(ctx context.Context, r RunRequest) (Ack, error)
	// Resume goes on after Pause.
	Resume(ctx context.Context, r RunRequest) (Ack, error)
	// Status is the camera's status, as published.
	Status(ctx context.Context, r RunRequest) (Status, error)
}

// ArmRequest says what differs from acquire's own flags. Empty, it is exactly those.
type ArmRequest struct {
	// Run is the id that the run is to have, where the asker chooses it: who lost the answer asks again with the same
	// id, and gets it for the run that is there.
	Run         frames.RunID    `json:"run,omitzero"`
	Source      string          `json:"source,omitempty"`
	Frames      config.Count    `json:"frames,omitempty"`
	Duration    Duration        `json:"duration,omitzero"`
	Budget      config.ByteSize `json:"budget,omitzero"`
	OnFull      config.OnFull   `json:"on_full,omitempty"`
	ShardFrames config.Count    `json:"shard_frames,omitempty"`
	Compress    config.Compress `json:"compress,omitzero"`
	PixelSize   config.Length   `json:"pixel_size,omitzero"`
	Meta        config.Meta     `json:"meta,omitempty"`
	Store       string          `json:"store,omitempty"`
	Force       bool            `json:"force,omitempty"`
}

// Apply returns c with what the request names put in its place. Metadata is added to c's.
func (r ArmRequest) Apply(c config.Capture) (config.Capture, error) {
	set(&c.Source, r.Source)
	set(&c.Budget, r.Budget)
	set(&c.OnFull, r.OnFull)
	set(&c.ShardFrames, r.ShardFrames)
	set(&c.Compress, r.Compress)
	set(&c.PixelSize, r.PixelSize)
	set(&c.Store, r.Store)
	set(&c.Force, r.Force)
	if r.Frames != 0 || r.Duration != 0 {
		c.Frames, c.Duration = r.Frames, time.Duration(r.Duration)
	}
	if c.Frames != 0 && c.Duration != 0 {
		return c, fmt.Errorf("%w: frames and duration can't be used together", ErrRequest)
	}
	c.Meta = maps.Clone(c.Meta)
	if len(r.Meta) > 0 {
		if c.Meta == nil {
			c.Meta = config.Meta{}
		}
		maps.Copy(c.Meta, r.Meta)
	}
	return c, c.Validate()
}

// set replaces dst by v where v is given.
func set[T comparable](dst *T, v T) {
	var zero T
	if v != zero {
		*dst = v
	}
}

// RunRequest may name the run that is meant: another one refuses it.
type RunRequest struct {
	Run frames.RunID `json:"run,omitzero"`
}

// StopRequest ends a run.
type StopRequest struct {
	Run frames.RunID `json:"run,omitzero"`
	// Hard gives up what is not durable yet: it goes to the ledger.
	Hard bool `json:"hard,omitempty"`
}

// Armed is the effective configuration of an armed run.
type Armed struct {
	Spec run.Spec `json:"spec"`
	// Store is the store's path on the primary writer's host.
	Store       string        `json:"store"`
	BudgetBytes int64         `json:"budget_bytes"`
	Slots       int           `json:"slots"` // of SlotBytes each, the reserve included
	SlotBytes   int64         `json:"slot_bytes"`
	Reserve     int           `json:"reserve"`
	OnFull      config.OnFull `json:"on_full,omitempty"`
	Members     []string      `json:"members"`
	Warnings    []string      `json:"warnings,omitempty"`
	// Forecast says how long the budget will last; absent where nothing is known.
	Forecast *Forecast `json:"forecast,omitempty"`
}

// Forecast is what can be said of a run's budget before its first frame.
type Forecast struct {
	Text string `json:"text"` // in one line for people
	// FramesPerSecond and BytesPerSecond are the camera's nominal rate, 0 where it has none.
	FramesPerSecond float64 `json:"frames_per_second"`
	BytesPerSecond  float64 `json:"bytes_per_second"`
	// StandstillSeconds is how long the budget lasts while the disk takes nothing: no prediction, but what it bridges.
	StandstillSeconds float64 `json:"standstill_seconds,omitempty"`
	// DiskFramesPerSecond and DiskBytesPerSecond are what the store's disk is known to have taken with this codec, absent where
	// nobody knows. DiskKnown says from what, "bench" or "run", and DiskTime since when.
	DiskFramesPerSecond float64    `json:"disk_frames_per_second,omitempty"`
	DiskBytesPerSecond  float64    `json:"disk_bytes_per_second,omitempty"`
	DiskKnown           string     `json:"disk_known,omitempty"`
	DiskTime            *time.Time `json:"disk_time,omitempty"`
	// KeepsUp says whether the disk has taken as much as the camera sends; absent where one of the two is not known.
	KeepsUp *bool `json:"keeps_up,omitempty"`
	// SecondsToFull is when the budget will be full, where the disk does not keep up.
	SecondsToFull *float64 `json:"seconds_to_full,omitempty"`
}

// Ack is the answer of the verbs that have nothing else to say.
type Ack struct {
	Run      frames.RunID `json:"run,omitzero"`
	State    State        `json:"state"` // after the request
	Captured uint64       `json:"captured"`
}

// Reply is the answer on a control subject: Result is the verb's (Armed, Ack or Status) where OK is set.
type Reply struct {
	Envelope
	OK     bool            `json:"ok"`
	Error  *Error          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Error is an error on the wire.
type Error struct {
	Code    int    `json:"code"` // the exit code it stands for
	Message string `json:"message"`
}

// Duration is a time span that JSON has as text, such as "10s".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses what is not more than zero.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%w: %q is not a time of more than zero, such as 10s", ErrRequest, text)
	}
	*d = Duration(v)
	return nil
}

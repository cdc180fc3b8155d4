package link

import (
	"context"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Receiver is what a consumer works with: a membership that lives through restarts of acquire and of the
// broker, with offers already checked against the slab and turned into frames.
type Receiver interface {
	// Next waits for the next delivery. After acquire was away and is back, the run's Armed comes again
	// (Resumed set, the same run id), and unreleased frames and unsettled losses may be offered again: the
	// consumer answers those that it has already dealt with at once and ignores those still in work.
	Next(ctx context.Context) (Delivery, error)
	// Release gives frames back. It does not block and may be called from any goroutine.
	Release(fs []Offered, outcome frames.State)
	// Settle confirms losses whose ledger lines are synced.
	Settle(ls []frames.LossRecord)
	// Seal confirms a shard that is complete, renamed and in the metadata.
	Seal(a frames.Assignment)
	// Report sends a Ready, Finished or Failed.
	Report(kind frames.Kind, body any)
}

// Offered is a frame in the hands of a member.
type Offered struct {
	Offer frames.Offer
	Frame *frames.Frame
}

// Delivery is one message to a consumer: the one field that Kind names is set.
type Delivery struct {
	Kind   frames.Kind
	Armed  *Armed
	Assign []frames.Assignment
	Frames []Offered
	Losses []frames.LossRecord
	Event  Event
	End    *End
	Finish *Finish
	Closed *Closed
}

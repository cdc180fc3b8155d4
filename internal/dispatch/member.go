package dispatch

import (
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// member is one process of a group. The dispatcher's mutex guards its fields.
type member struct {
	name   string
	group  int // index among the dispatcher's groups
	conn   link.Conn
	out    *outbox
	joined time.Time
	nonce  string
	// claims are the shards of run claimed that it says it still owns.
	claims  []link.Claim
	claimed frames.RunID
	// armed is the run that it was told of, ready whether it has agreed.
	armed  frames.RunID
	ready  bool
	failed string // why it takes no more frames
	// finished is the run whose last result is out.
	finished frames.RunID
	answer   link.Ready
	// ended is set when it was told of the run's end.
	ended bool
	// leaving is when it was seen to leave, zero while it stays; excused is set when it was told that the run goes on
	// without it.
	leaving time.Time
	excused bool
	// gone is set when its connection is over; left is when, for one whose process is about to join again.
	gone bool
	left time.Time
	// outstanding counts the frames in its hands.
	outstanding int
	owned       int // shards that are not sealed
	// turn is when it was given a frame last, in frames given to anybody: those with as much in hand take turns.
	turn        uint64
	redelivered uint64
	restarts    int
	rels        []frames.Release // of the message that is worked on
}

// hung reports whether nothing was heard from a member for too long.
func (m *member) hung(now time.Time, limit time.Duration) bool {
	return now.Sub(m.conn.Peer().Heard) > limit
}

// stays reports whether a member has not said that it leaves.
func (m *member) stays() bool { return m.leaving.IsZero() }

// refusal is the error of a member that refused the run.
func (m *member) refusal() error {
	switch {
	case m.answer.Usage:
		return fmt.Errorf("%w: %s", ErrRefusedUsage, m.failed)
	case m.answer.DiskFull:
		return fmt.Errorf("%w: %s", ErrRefusedFull, m.failed)
	}
	return fmt.Errorf("%w by %s: %s", ErrRefused, m.name, m.failed)
}

// takes reports whether a member may be given more: one that is hung keeps what it has. What only it could have waits
// for it, or for another who comes back.
func (d *Dispatcher) takes(m *member, g int, now time.Time) bool {
	return m.group == g && m.ready && !m.gone && m.failed == "" && !m.hung(now, d.cfg.Hung)
}

// pick returns the member with the least in hand, of several the one whose turn it is; nil where there is none that takes
// frames. One that leaves is picked where nobody stays.
func (d *Dispatcher) pick(g int) *member {
	var best *member
	now := time.Now()
	for _, m := range d.members {
		if d.takes(m, g, now) && (best == nil || m.freer(best)) {
			best = m
		}
	}
	return best
}

// freer reports whether m is to be given a frame rather than the other.
func (m *member) freer(other *member) bool {
	switch {
	case m.stays() != other.stays():
		return m.stays()
	case m.outstanding != other.outstanding:
		return m.outstanding < other.outstanding
	}
	return m.before(other)
}

// before reports whether it is m's turn rather than the other's.
func (m *member) before(other *member) bool {
	if m.turn != other.turn {
		return m.turn < other.turn
	}
	return m.joined.Before(other.joined)
}

// served notes that a member was given a frame.
func (d *Dispatcher) served(m *member) {
	d.turns++
	m.turn = d.turns
}

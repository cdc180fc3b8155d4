package dispatch

import (
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Group configures a named set of members that share a camera's frames.
type Group struct {
	Name   string
	Policy link.Policy
	// Sharded groups own shards: they are told of losses, seal shards and complete the store.
	Sharded bool
	// Required is how many members must have joined before a run begins.
	Required int
}

// vital reports whether a run can't do without the group: it holds frames that nobody else releases.
func (g Group) vital() bool { return g.Sharded || g.Required > 0 && g.Policy == link.Lossless }

// group is a Group during a run. Its methods are called with the dispatcher's mutex held.
type group interface {
	// offer hands over a frame that was captured or, after a restart of acquire, was not released before.
	offer(slot int, rec slab.Record)
	// release takes a frame back from a member. It reports whether the member held it.
	release(m *member, rel frames.Release) bool
	// ready brings a member into play, gone takes it out: what it held waits for advance.
	ready(m *member)
	gone(m *member)
	// advance gives what waits to members that can take it, and takes back what one has held for too long. It is
	// called when members change, and a few times a second.
	advance(now time.Time)
	// quiet reports whether the group is done with every frame offered so far.
	quiet() bool
	// held tells what each member, and nobody (nil), has in hand.
	held(f func(m *member, slot int))
}

package writer

import (
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestTimesAreTheRunsOwn: frames are stamped with the run's clock, so a wall clock that was set after the run was armed
// changes nothing about how long they took.
func TestTimesAreTheRunsOwn(t *testing.T) {
	for _, jump := range []time.Duration{-24 * time.Hour, time.Hour} {
		c := clock.New()
		c.Wall += int64(jump)
		m := newMeter()
		m.reset(c)
		m.done([]link.Offered{{Offer: frames.Offer{HostNS: c.Now() - int64(time.Minute)}}}, 1)
		var h link.Health
		m.fill(&h)
		if got := time.Duration(h.DurableP50NS); got < time.Minute*9/10 || got > 9*time.Minute {
			t.Errorf("after a jump of %v a frame took %v, want about a minute", jump, got)
		}
	}
}

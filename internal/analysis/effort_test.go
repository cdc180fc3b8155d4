package analysis

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicedaq/sluice/internal/occupancy"
)

// TestEffort: an analyser is busy while its loop works or a worker has a frame, and starved while neither is so.
func TestEffort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &effort{watch: occupancy.New()}
		after := func(what string, busy, starved, blocked float64) {
			t.Helper()
			<-time.After(time.Second)
			if s := e.watch.Shares(); s.Busy != busy || s.Starved != starved || s.Blocked != blocked {
				t.Errorf("%s: %+v", what, s)
			}
		}
		e.wait(true)
		after("waiting", 0, 1, 0)
		e.wait(false)
		after("the loop", 1, 0, 0)
		e.work(2)
		e.wait(true)
		after("workers", 1, 0, 0)
		e.work(-1)
		after("one worker", 1, 0, 0)
		e.work(-1)
		after("nobody", 0, 1, 0)
		e.wait(false)
		e.watch.Switch(occupancy.Blocked)
		e.work(1)
		e.work(-1)
		after("the loop, which is blocked", 0, 0, 1)
	})
}

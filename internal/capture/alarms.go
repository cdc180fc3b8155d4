package capture

import (
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
)

// A disk is low when the present rate fills it within diskTime, or when it has less than diskBytes.
const (
	diskTime  = time.Minute
	diskBytes = 256 << 20
)

// alarms tells of what goes wrong slowly, once each time that it begins. It is the status publisher's alone.
type alarms struct {
	herald *Herald
	hung   map[string]bool // members
	low    map[string]bool // writers
}

func newAlarms(h *Herald) *alarms {
	return &alarms{herald: h, hung: map[string]bool{}, low: map[string]bool{}}
}

// look compares the status with what was told before.
func (a *alarms) look(st bus.Status) {
	hung, low := map[string]bool{}, map[string]bool{}
	for _, m := range st.Members {
		if hung[m.Name] = m.State == "hung"; hung[m.Name] && !a.hung[m.Name] {
			a.herald.Event(st.Run, bus.Event{
				Kind: bus.EventMemberHung, Text: fmt.Sprintf("%s of %s is silent with %d frames in hand", m.Name, m.Group, m.HeldFrames),
				Member: &bus.MemberEvent{Name: m.Name, Group: m.Group, PID: m.PID, Restarts: m.Restarts, Frames: m.HeldFrames, Bytes: m.HeldBytes, Reason: bus.ReasonSilent},
			})
		}
		d, isLow := disk(st, m)
		if low[m.Name] = isLow; isLow && !a.low[m.Name] {
			a.herald.Event(st.Run, bus.Event{
				Kind: bus.EventDiskLow, Disk: d,
				Text: fmt.Sprintf("%s has %s left on the disk of %s, about %.0f s at the present rate", m.Name, config.ByteSize(d.FreeBytes>>20<<20), d.Path, d.SecondsLeft),
			})
		}
	}
	a.hung, a.low = hung, low
}

// disk is what is left of a writer's disk, and whether that is little.
func disk(st bus.Status, m bus.Member) (*bus.DiskEvent, bool) {
	if m.Writer == nil || st.Geometry == nil || st.State != bus.StateRunning && st.State != bus.StatePaused {
		return nil, false
	}
	d := &bus.DiskEvent{Writer: m.Name, Path: m.Writer.Path, FreeBytes: m.Writer.FreeBytes}
	rate := st.Rate.Durable * float64(st.Geometry.FrameBytes())
	if rate > 0 {
		d.SecondsLeft = float64(d.FreeBytes) / rate
	}
	return d, d.FreeBytes < diskBytes || rate > 0 && d.SecondsLeft < diskTime.Seconds()
}

// Package clock has the time that a run's frames are stamped with. The wall clock may be set while a run goes on, by
// hours and backwards: it is looked at once, when the run is armed, and from then on the host's monotonic clock counts,
// which nobody sets and which goes on while no process of the run lives. It stands still while the host is suspended.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic is the host's monotonic clock, in nanoseconds. It is the same in every process of the host, begins anew with
// the host, and never goes back.
func Monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // no Linux is without it
	}
	return t.Nano()
}

// Run is the clock of one run: the wall clock showed Wall when the monotonic one showed Began.
type Run struct {
	Wall  int64 `json:"wall_ns,string"` // nanoseconds since 1970-01-01 UTC
	Began int64 `json:"began_ns,string"`
}

// New is the clock of a run that is armed now.
func New() Run { return Run{Wall: time.Now().UnixNano(), Began: Monotonic()} }

// Now is the run's time, in nanoseconds since 1970-01-01 UTC. It means something on the run's own host; the zero Run's is
// the wall clock's.
func (r Run) Now() int64 {
	if r == (Run{}) {
		return time.Now().UnixNano()
	}
	return r.Wall + Monotonic() - r.Began
}

// Stamper gives the run's time of what this process has seen.
type Stamper struct {
	at time.Time
	ns int64
}

// Stamper returns one for this process. All that it stamps is in the order of its times.
func (r Run) Stamper() Stamper {
	const near = int64(50 * time.Microsecond)
	var s Stamper
	for best, n := int64(-1), 0; n < 20 && (best < 0 || best > near); n++ { // until nothing came between the two clocks
		before := r.Now()
		at := time.Now()
		if off := r.Now() - before; best < 0 || off < best {
			best, s = off, Stamper{at: at, ns: before + off/2}
		}
	}
	return s
}

// At is the run's time, in nanoseconds since 1970-01-01 UTC, at t, which must have a monotonic reading.
func (s Stamper) At(t time.Time) int64 { return s.ns + int64(t.Sub(s.at)) }

// Now is the run's time now.
func (s Stamper) Now() int64 { return s.At(time.Now()) }

package camera

import (
	"fmt"
	"math"
)

// Unwrapper turns a device's frame ids, which wrap after 16, 32 or 64 bits and may skip zero, into a count of
// 64 bits, and says how many frames were missed between two that came. One goroutine uses it.
//
// An id alone tells the number of frames only up to a multiple of the ids' cycle (65535 for 16 bits that skip
// zero). Where the camera has a nominal rate, the device timestamps choose among the multiples the one nearest
// to the time that has passed, so that a gap longer than a cycle is counted right as long as the rate is off by
// less than half a cycle over the gap. Where it has none, a gap is taken to be shorter than half a cycle.
type Unwrapper struct {
	bits     int
	skipZero bool
	period   float64 // nanoseconds, 0 where unknown

	begun   bool
	untimed bool // the time since the last frame says nothing
	place   uint64
	ns      int64
	count   uint64
}

// Anomaly says what is wrong with an id.
type Anomaly uint8

// The anomalies.
const (
	// Regular ids go on from the one before.
	Regular Anomaly = iota
	// Repeated is the id of the frame before without time for another cycle: the same frame again. It is not
	// counted and to be discarded.
	Repeated
	// Restarted is a new frame whose id is not to be explained by the time that has passed: the device has begun to
	// count anew, has stopped counting, or sent an id that it cannot have. The count goes on by the time.
	Restarted
)

// Step is what one frame's id says.
type Step struct {
	// FrameID is the id unwrapped: the first frame's own id plus the frames since, missed ones included.
	FrameID uint64
	// Missed is how many frames were missed before this one.
	Missed  uint64
	Anomaly Anomaly
}

// MaxMissed is the longest gap that is believed: longer ones are an id or a clock that jumped.
const MaxMissed = 1 << 31

// NewUnwrapper makes an unwrapper for the camera that info describes. The error wraps [ErrFrameID].
func NewUnwrapper(info Info) (*Unwrapper, error) {
	if info.IDBits < 0 || info.IDBits > 64 {
		return nil, fmt.Errorf("%w: %d bits: want 0 to 64", ErrFrameID, info.IDBits)
	}
	u := &Unwrapper{bits: info.IDBits, skipZero: info.IDSkipsZero}
	if info.FPS > 0 {
		u.period = 1e9 / info.FPS
	}
	if info.IDFromStart && info.IDBits > 0 {
		// As if the frame before the first had come. Without a time: nobody knows when it would have.
		u.begun, u.untimed, u.place = true, true, u.cycle()-1
		u.count = math.MaxUint64 // −1; 0 where zero is skipped
		if u.skipZero {
			u.count = 0
		}
	}
	return u, nil
}

// cycle is the number of different ids, 0 standing for 2^64.
func (u *Unwrapper) cycle() uint64 {
	c := uint64(1) << u.bits // 0 for 64 bits
	if u.skipZero {
		c--
	}
	return c
}

// Resumed says that the camera was paused: the time to the next frame says nothing about frames missed.
func (u *Unwrapper) Resumed() { u.untimed = true }

// Next takes the id and the device timestamp of the frame that came next.
func (u *Unwrapper) Next(id uint64, deviceNS int64) Step {
	if u.bits == 0 {
		if u.begun {
			u.count++
		}
		u.begun = true
		return Step{FrameID: u.count}
	}
	place, valid := u.placeOf(id)
	if !u.begun {
		u.begun, u.place, u.ns, u.count = true, place, deviceNS, id
		return Step{FrameID: id}
	}
	elapsed := math.NaN() // in frames
	if u.period > 0 && !u.untimed && deviceNS >= u.ns {
		elapsed = float64(deviceNS-u.ns) / u.period
	}
	n, anomaly := u.advance(place, elapsed)
	if !valid {
		n, anomaly, place = byTime(elapsed), Restarted, u.after(byTime(elapsed))
	}
	if anomaly == Repeated {
		return Step{FrameID: u.count, Anomaly: Repeated}
	}
	u.place, u.ns, u.untimed = place, deviceNS, false
	u.count += n
	return Step{FrameID: u.count, Missed: n - 1, Anomaly: anomaly}
}

// placeOf is an id's place in the cycle, from 0, and whether the device can have sent it at all.
func (u *Unwrapper) placeOf(id uint64) (uint64, bool) {
	if u.bits < 64 && id>>u.bits != 0 {
		return 0, false
	}
	if u.skipZero {
		return id - 1, id != 0
	}
	return id, true
}

// after is the place n frames after the last one.
func (u *Unwrapper) after(n uint64) uint64 {
	if c := u.cycle(); c != 0 {
		return (u.place + n%c) % c
	}
	return u.place + n
}

// advance says how many frames on the id at place is. elapsed is the time since the last frame in frames, NaN
// where it is unknown.
func (u *Unwrapper) advance(place uint64, elapsed float64) (uint64, Anomaly) {
	cycle := u.cycle()
	ahead := place - u.place // modulo 2^64
	if cycle != 0 && place < u.place {
		ahead += cycle
	}
	length := math.Ldexp(1, u.bits)
	if cycle != 0 {
		length = float64(cycle)
	}
	if math.IsNaN(elapsed) || elapsed > MaxMissed {
		switch {
		case ahead == 0:
			return 0, Repeated
		case float64(ahead) > length/2 || ahead > MaxMissed:
			return 1, Restarted
		}
		return ahead, Regular
	}
	n := float64(ahead) + length*math.Round((elapsed-float64(ahead))/length)
	switch {
	case n == 0 && elapsed < 0.5:
		return 0, Repeated
	case n < 1 || n > MaxMissed || n > 4*elapsed+1024:
		// Backwards, unmoved in spite of the time, or further than a camera gets in that time.
		return byTime(elapsed), Restarted
	}
	return uint64(n), Regular
}

// byTime is the number of frames that an elapsed time is long, at least 1.
func byTime(elapsed float64) uint64 {
	if math.IsNaN(elapsed) || elapsed > MaxMissed {
		return 1
	}
	return uint64(max(1, math.Round(elapsed)))
}

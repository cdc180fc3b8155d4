// Package pace is the clock of cameras that make their own frames: it says when frame n is due and waits for it.
package pace

import (
	"context"
	"math"
	"time"
)

// Pacer is an ideal clock: frame n is due n periods after the start, however late earlier frames were taken,
// plus what pauses have shifted it. It is used by one goroutine. Its zero value is not usable.
type Pacer struct {
	fps   float64 // 0: frames are due when they are asked for
	start time.Time
	shift int64 // nanoseconds
	last  int64 // the latest time handed out where fps is 0
	timer *time.Timer
}

// New makes a Pacer of fps frames per second; 0 means that every frame is due when it is asked for.
func New(fps float64) *Pacer { return &Pacer{fps: fps} }

// Start begins the clock: frame 0 is due now.
func (p *Pacer) Start() {
	p.start = time.Now()
	p.shift, p.last = 0, -1
	if p.timer == nil {
		p.timer = time.NewTimer(time.Hour)
		p.timer.Stop()
	}
}

// StartAt begins the clock in the middle: frame n is due now.
func (p *Pacer) StartAt(n uint64) {
	p.Start()
	if p.fps != 0 {
		p.shift = -Offset(n, p.fps)
	}
}

// Now is the time since Start in nanoseconds.
func (p *Pacer) Now() int64 { return int64(time.Since(p.start)) }

// Due is when frame n is due, in nanoseconds since Start. Where fps is 0 it is the present.
func (p *Pacer) Due(n uint64) int64 {
	if p.fps == 0 {
		return p.Now()
	}
	return p.shift + Offset(n, p.fps)
}

// Offset is n periods in nanoseconds, rounded to the nearest.
func Offset(n uint64, fps float64) int64 { return int64(math.Round(float64(n) / fps * 1e9)) }

// Wait waits until frame n is due and returns when that was, in nanoseconds since Start. The time only grows.
// The error is the context's.
func (p *Pacer) Wait(ctx context.Context, n uint64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if p.fps == 0 {
		p.last = max(p.Now(), p.last+1)
		return p.last, nil
	}
	due := p.Due(n)
	if wait := due - p.Now(); wait > 0 {
		p.timer.Reset(time.Duration(wait))
		defer p.timer.Stop()
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return due, nil
}

// Produced is how many frames are due by now: at least one, for frame 0 is due at the start. It is 0 where
// fps is 0.
func (p *Pacer) Produced() uint64 {
	if p.fps == 0 {
		return 0
	}
	now := p.Now()
	n := uint64(max(0, float64(now-p.shift)*p.fps/1e9))
	// The product may have been rounded to either side of a frame's due time.
	for n > 0 && p.Due(n) > now {
		n--
	}
	for p.Due(n+1) <= now {
		n++
	}
	return n + 1
}

// Resume goes on after a pause with frame n as the next: it is due now, or later if its time has not come.
func (p *Pacer) Resume(n uint64) {
	if p.fps != 0 {
		p.shift += max(0, p.Now()-p.Due(n))
	}
}

package cameratest

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Frame is one frame of a script.
type Frame struct {
	// ID and DeviceNS are what the device says, whether that makes sense or not. A pause is added to DeviceNS.
	ID       uint64
	DeviceNS int64
	// At is when the device has it, after Start and not counting pauses.
	At         time.Duration
	Incomplete bool
}

// End is what comes after the last frame.
type End int

// The ends.
const (
	Ends   End = iota // io.EOF
	Stalls            // nothing any more: Grab waits for its context
	Fails             // camera.ErrFailed
)

// Script is all that a fake does.
type Script struct {
	Geometry frames.Geometry // 4 × 3 uint8 if zero
	FPS      float64
	// IDBits, IDSkipsZero and IDFromStart are as in camera.Info.
	IDBits      int
	IDSkipsZero bool
	IDFromStart bool
	// Free makes a camera that can't stop: a frame that finds all of the driver's buffers taken is lost.
	Free bool
	// Buffers is how many frames the driver holds, the grabbed one included: 4 if 0.
	Buffers int
	Frames  []Frame
	// Gate, if not nil, is received from before each frame, so that a test decides when it comes.
	Gate <-chan struct{}
	End  End
}

// Sequence is n frames without faults at fps, with ids from 0. At an fps of 0 all are there from the start.
func Sequence(n int, fps float64) []Frame {
	fs := make([]Frame, n)
	for i := range fs {
		fs[i].ID = uint64(i)
		fs[i].DeviceNS = int64(i)
		if fps > 0 {
			fs[i].DeviceNS = int64(float64(i) / fps * 1e9)
			fs[i].At = time.Duration(fs[i].DeviceNS)
		}
	}
	return fs
}

// Number gives fs the ids of a device that counts in so many bits, the first frame being its count-th from 0.
// It returns fs.
func Number(fs []Frame, bits int, skipZero bool, count uint64) []Frame {
	for i := range fs {
		n := count + uint64(i)
		mask := uint64(1)<<bits - 1 // all ones for 64
		if skipZero {
			fs[i].ID = n%mask + 1
		} else {
			fs[i].ID = n & mask
		}
	}
	return fs
}

// Pixels writes the pixels of frame n of a script into dst.
func Pixels(dst []byte, n uint64) {
	for i := range dst {
		dst[i] = byte(n*131 + uint64(i)*7 + 1)
	}
}

// Fake is a scripted camera. Its counters may be read while it is in use.
type Fake struct {
	script  Script
	state   state
	start   time.Time
	paused  time.Duration // the sum of all pauses
	since   time.Time     // when the present pause began
	coming  int           // the first frame of the script that the device has not made
	buffers [][]byte      // the driver's, free ones
	queue   []held        // filled and not grabbed
	out     *held         // the grabbed one

	lost, pauses, resumes atomic.Uint64
	closed                atomic.Bool
}

type state int

const (
	opened state = iota
	started
	pausing
	ended
)

// held is a buffer of the driver with a frame in it.
type held struct {
	frame  Frame
	pixels []byte
}

// pausable adds what a Fake that can't stop must not have.
type pausable struct{ *Fake }

var (
	_ camera.Camera = (*Fake)(nil)
	_ camera.Pauser = pausable{}
)

// NewFake makes a fake. Use its Camera.
func NewFake(s Script) *Fake {
	if s.Geometry == (frames.Geometry{}) {
		s.Geometry = frames.Geometry{Height: 3, Width: 4, Channels: 1, Dtype: frames.Uint8}
	}
	if s.Buffers == 0 {
		s.Buffers = 4
	}
	f := &Fake{script: s}
	for range s.Buffers {
		f.buffers = append(f.buffers, make([]byte, s.Geometry.FrameBytes()))
	}
	return f
}

// Camera is the fake as a camera, a Pauser unless it is free-running.
func (f *Fake) Camera() camera.Camera {
	if f.script.Free {
		return f
	}
	return pausable{f}
}

// Lost is how many frames found no buffer.
func (f *Fake) Lost() uint64 { return f.lost.Load() }

// Pauses and Resumes count the calls.
func (f *Fake) Pauses() uint64 { return f.pauses.Load() }

// Resumes counts the calls.
func (f *Fake) Resumes() uint64 { return f.resumes.Load() }

// Closed says whether it was closed.
func (f *Fake) Closed() bool { return f.closed.Load() }

// Info implements [camera.Camera].
func (f *Fake) Info() camera.Info {
	s := f.script
	i := camera.Info{
		Geometry: s.Geometry, FPS: s.FPS, CanPause: !s.Free,
		IDBits: s.IDBits, IDSkipsZero: s.IDSkipsZero, IDFromStart: s.IDFromStart,
		Device: run.Device{
			Model: "fake", Serial: "1", SignificantBits: 8 * s.Geometry.Dtype.Size(), Clock: "script", Stamps: "script",
		},
	}
	if s.End == Ends && !s.Free {
		i.Frames = uint64(len(s.Frames))
	}
	return i
}

// Start implements [camera.Camera].
func (f *Fake) Start(ctx context.Context) error {
	if f.state != opened {
		return fmt.Errorf("start: %w", camera.ErrOrder)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.state, f.start = started, time.Now()
	return nil
}

// Grab implements [camera.Camera].
func (f *Fake) Grab(ctx context.Context) (camera.Grabbed, error) {
	if f.state != started {
		return camera.Grabbed{}, fmt.Errorf("grab: %w", camera.ErrOrder)
	}
	if err := ctx.Err(); err != nil {
		return camera.Grabbed{}, err
	}
	f.catchUp()
	f.giveBack()
	if err := f.wait(ctx); err != nil {
		return camera.Grabbed{}, err
	}
	h := f.queue[0]
	f.queue, f.out = f.queue[1:], &h
	return camera.Grabbed{
		FrameID: h.frame.ID, DeviceNS: h.frame.DeviceNS, Arrived: time.Now(), Incomplete: h.frame.Incomplete,
	}, nil
}

// wait waits until a frame is in the queue.
func (f *Fake) wait(ctx context.Context) error {
	for f.catchUp(); len(f.queue) == 0; f.catchUp() {
		if f.coming == len(f.script.Frames) {
			switch f.script.End {
			case Stalls:
				<-ctx.Done()
				return ctx.Err()
			case Fails:
				return fmt.Errorf("the script says so: %w", camera.ErrFailed)
			default:
				return io.EOF
			}
		}
		if f.script.Gate != nil {
			select {
			case <-f.script.Gate:
			case <-ctx.Done():
				return ctx.Err()
			}
			f.make()
			continue
		}
		timer := time.NewTimer(f.script.Frames[f.coming].At - f.now())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		if !f.script.Free {
			f.make()
		}
	}
	return nil
}

// now is the device's time: pauses don't count.
func (f *Fake) now() time.Duration { return time.Since(f.start) - f.paused }

// catchUp does what a free-running device has done since it was last looked at. Between two calls no buffer is
// given back, so it doesn't matter that it is done late. Another device makes a frame when it is asked for.
func (f *Fake) catchUp() {
	if !f.script.Free || f.script.Gate != nil {
		return
	}
	for f.coming < len(f.script.Frames) && f.script.Frames[f.coming].At <= f.now() {
		f.make()
	}
}

// make makes the next frame of the script, which is lost where no buffer is free.
func (f *Fake) make() {
	frame, n := f.script.Frames[f.coming], uint64(f.coming)
	frame.DeviceNS += int64(f.paused)
	f.coming++
	if len(f.buffers) == 0 {
		f.lost.Add(1)
		return
	}
	b := f.buffers[0]
	f.buffers = f.buffers[1:]
	Pixels(b, n)
	if frame.Incomplete {
		clear(b[len(b)/2:])
	}
	f.queue = append(f.queue, held{frame, b})
}

// giveBack returns the grabbed frame's buffer to the driver.
func (f *Fake) giveBack() {
	if f.out == nil {
		return
	}
	// Nobody may still look at it.
	for i := range f.out.pixels {
		f.out.pixels[i] = 0xDD
	}
	f.buffers = append(f.buffers, f.out.pixels)
	f.out = nil
}

// Retrieve implements [camera.Camera].
func (f *Fake) Retrieve(dst []byte) error {
	if f.state != started && f.state != pausing || f.out == nil || len(dst) != len(f.out.pixels) {
		return fmt.Errorf("retrieve into %d bytes: %w", len(dst), camera.ErrOrder)
	}
	f.catchUp()
	copy(dst, f.out.pixels)
	f.giveBack()
	return nil
}

// Close implements [camera.Camera].
func (f *Fake) Close() error {
	f.state, f.out = ended, nil
	f.closed.Store(true)
	return nil
}

// Pause implements [camera.Pauser].
func (p pausable) Pause() error {
	if p.state != started {
		return fmt.Errorf("pause: %w", camera.ErrOrder)
	}
	p.pauses.Add(1)
	p.state, p.since = pausing, time.Now()
	return nil
}

// Resume implements [camera.Pauser].
func (p pausable) Resume() error {
	if p.state != pausing {
		return fmt.Errorf("resume: %w", camera.ErrOrder)
	}
	p.resumes.Add(1)
	p.state = started
	p.paused += time.Since(p.since)
	return nil
}

package file

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/pace"
	"github.com/sluicedaq/sluice/internal/run"
)

var (
	_ camera.Camera = (*Camera)(nil)
	_ camera.Pauser = (*Camera)(nil)
	_ camera.Seeker = (*Camera)(nil)
)

// Camera plays one clip.
type Camera struct {
	clip    clip
	about   about
	loop    bool
	fps     float64 // of the pacing, 0: none
	pacer   *pace.Pacer
	state   state
	next    uint64 // counts through all rounds of a loop
	waiting bool
}

type state int

const (
	opened state = iota
	started
	closed
)

// Open opens what c names and checks all of it: see the package's documentation. The error wraps
// [camera.ErrSource], and [ErrFormat] where the file is of another kind.
func Open(ctx context.Context, c Config) (camera.Camera, error) {
	cl, err := openClip(ctx, c.Path)
	if err != nil {
		return nil, err
	}
	cam := &Camera{clip: cl, about: cl.about(), loop: c.Loop, fps: c.FPS}
	if c.OwnRate {
		cam.fps = cam.about.rate
	}
	cam.pacer = pace.New(cam.fps)
	return cam, nil
}

// Info implements [camera.Camera].
func (c *Camera) Info() camera.Info {
	i := camera.Info{
		Geometry: c.about.geometry,
		FPS:      c.fps,
		Device: run.Device{
			Model: c.about.model, SignificantBits: c.about.bits,
			Clock: "player, nanoseconds since the start", Stamps: "the instant at which the frame was due",
			Settings: map[string]string{
				"fps":  strconv.FormatFloat(c.fps, 'g', -1, 64),
				"loop": strconv.FormatBool(c.loop),
			},
		},
		CanPause:    true,
		IDBits:      64,
		IDFromStart: true,
	}
	switch {
	case c.fps == 0 && c.about.rate > 0:
		i.Device.Clock, i.Device.Stamps = "the file's timeline, nanoseconds since its start", "the frame's place in the file"
	case c.fps == 0:
		i.Device.Stamps = "the instant at which the frame was asked for"
	}
	if !c.loop {
		i.Frames = c.about.frames
	}
	return i
}

// Seek implements [camera.Seeker].
func (c *Camera) Seek(n uint64) error {
	if c.state != opened {
		return fmt.Errorf("seek in a camera that was started: %w", camera.ErrOrder)
	}
	c.next = n
	return nil
}

// Start implements [camera.Camera].
func (c *Camera) Start(ctx context.Context) error {
	if c.state != opened {
		return fmt.Errorf("start of a camera that was started before: %w", camera.ErrOrder)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.state = started
	c.pacer.StartAt(c.next)
	return nil
}

// Grab implements [camera.Camera].
func (c *Camera) Grab(ctx context.Context) (camera.Grabbed, error) {
	if c.state != started {
		return camera.Grabbed{}, fmt.Errorf("grab: %w", camera.ErrOrder)
	}
	c.waiting = false
	if !c.loop && c.next >= c.about.frames {
		return camera.Grabbed{}, io.EOF
	}
	due, err := c.pacer.Wait(ctx, c.next)
	if err != nil {
		return camera.Grabbed{}, err
	}
	if c.fps == 0 && c.about.rate > 0 {
		due = pace.Offset(c.next, c.about.rate)
	}
	g := camera.Grabbed{FrameID: c.next, DeviceNS: due, Arrived: time.Now()}
	c.next++
	c.waiting = true
	return g, nil
}

// Retrieve implements [camera.Camera]. A frame that can't be read any more wraps [camera.ErrFailed].
func (c *Camera) Retrieve(dst []byte) error {
	switch {
	case c.state != started || !c.waiting:
		return fmt.Errorf("retrieve without a grab: %w", camera.ErrOrder)
	case len(dst) != c.about.geometry.FrameBytes():
		return fmt.Errorf("retrieve into %d bytes, a frame has %d: %w", len(dst), c.about.geometry.FrameBytes(), camera.ErrOrder)
	}
	c.waiting = false
	if err := c.clip.read((c.next-1)%c.about.frames, dst); err != nil {
		return fmt.Errorf("%w: %w", camera.ErrFailed, err)
	}
	return nil
}

// Pause implements [camera.Pauser].
func (c *Camera) Pause() error {
	if c.state != started {
		return fmt.Errorf("pause: %w", camera.ErrOrder)
	}
	return nil
}

// Resume implements [camera.Pauser].
func (c *Camera) Resume() error {
	if c.state != started {
		return fmt.Errorf("resume: %w", camera.ErrOrder)
	}
	c.pacer.Resume(c.next)
	return nil
}

// Close implements [camera.Camera].
func (c *Camera) Close() error {
	if c.state == closed {
		return nil
	}
	c.state, c.waiting = closed, false
	return c.clip.close()
}

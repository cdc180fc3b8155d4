package sim

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/pace"
	"github.com/sluicedaq/sluice/internal/run"
)

var (
	_ camera.Camera      = (*Camera)(nil)
	_ camera.Seeker      = (*Camera)(nil)
	_ camera.Checksummer = (*Camera)(nil)
	_ camera.Pauser      = pausable{}
)

// Camera is the simulated camera. It has no goroutine of its own: a free-running one works out at each Grab
// what it would have done meanwhile.
type Camera struct {
	cfg     Config
	pattern Pattern
	pacer   *pace.Pacer
	bytes   int
	state   state
	next    uint64 // the frame that is produced next
	grabbed uint64 // the frame whose pixels wait
	waiting bool   // whether there is one
}

type state int

const (
	opened state = iota
	started
	closed
)

// pausable adds the methods that a free-running camera must not have.
type pausable struct{ *Camera }

// New makes the camera that c describes. It can pause unless it is free-running.
func New(c Config) (camera.Camera, error) {
	p, err := NewPattern(c)
	if err != nil {
		return nil, err
	}
	cam := &Camera{cfg: c, pattern: p, pacer: pace.New(c.FPS), bytes: c.Geometry().FrameBytes()}
	if c.Free {
		return cam, nil
	}
	return pausable{cam}, nil
}

// Info implements [camera.Camera].
func (c *Camera) Info() camera.Info {
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	settings := map[string]string{
		"pattern": c.cfg.Pattern, "fps": number(c.cfg.FPS), "free": strconv.FormatBool(c.cfg.Free),
	}
	switch c.cfg.Pattern {
	case Hash, Noise:
		settings["seed"] = strconv.FormatUint(c.cfg.Seed, 10)
	case Wave:
		settings["mean"], settings["at"], settings["hz"] = number(c.cfg.Mean), number(c.cfg.At), number(c.cfg.Hz)
		settings["as"], settings["kx"], settings["ky"] = number(c.cfg.As), number(c.cfg.KX), number(c.cfg.KY)
	}
	if c.cfg.Free {
		settings["ring"] = strconv.Itoa(c.cfg.Ring)
	}
	stamps := "the instant at which the frame was due"
	if c.cfg.FPS == 0 {
		stamps = "the instant at which the frame was asked for"
	}
	return camera.Info{
		Geometry: c.cfg.Geometry(),
		FPS:      c.cfg.FPS,
		Device: run.Device{
			Model: "Sluice simulated camera", Settings: settings, SignificantBits: 8 * c.cfg.Dtype.Size(),
			Clock: "simulated, nanoseconds since the start", Stamps: stamps,
		},
		CanPause: !c.cfg.Free,
		IDBits:   c.cfg.IDBits, IDSkipsZero: c.cfg.SkipZero, IDFromStart: true,
	}
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
	seq := c.oldest()
	for every(c.cfg.MissEvery, seq) {
		seq++
	}
	if at := c.cfg.FailAt; at > 0 && seq >= at {
		return camera.Grabbed{}, fmt.Errorf("simulated camera was told to fail at frame %d: %w", at, camera.ErrFailed)
	}
	if at := c.cfg.StallAt; at > 0 && seq >= at {
		<-ctx.Done()
		return camera.Grabbed{}, ctx.Err()
	}
	due, err := c.pacer.Wait(ctx, seq)
	if err != nil {
		return camera.Grabbed{}, err
	}
	c.grabbed, c.waiting, c.next = seq, true, seq+1
	return camera.Grabbed{
		FrameID: c.id(seq), DeviceNS: due, Arrived: time.Now(), Incomplete: every(c.cfg.IncompleteEvery, seq),
	}, nil
}

// oldest is the oldest frame that can still be had.
func (c *Camera) oldest() uint64 {
	if !c.cfg.Free {
		return c.next
	}
	produced := c.pacer.Produced()
	for _, end := range []uint64{c.cfg.FailAt, c.cfg.StallAt} {
		if end > 0 {
			produced = min(produced, end)
		}
	}
	if ring := uint64(c.cfg.Ring); produced > ring {
		return max(c.next, produced-ring)
	}
	return c.next
}

// every reports whether frame seq is an n-th one.
func every(n, seq uint64) bool { return n > 0 && seq%n == n-1 }

// id is the device's number of frame seq.
func (c *Camera) id(seq uint64) uint64 {
	mask := uint64(1)<<c.cfg.IDBits - 1 // all ones for 64, where the shift leaves nothing
	if c.cfg.SkipZero {
		return seq%mask + 1
	}
	return seq & mask
}

// Retrieve implements [camera.Camera].
func (c *Camera) Retrieve(dst []byte) error {
	if err := c.take(dst); err != nil {
		return err
	}
	c.pattern.Fill(dst, c.grabbed)
	return nil
}

// RetrieveChecksum implements [camera.Checksummer], for the pattern whose pixels are copied.
func (c *Camera) RetrieveChecksum(dst []byte) (uint32, error) {
	if err := c.take(dst); err != nil {
		return 0, err
	}
	if p, ok := c.pattern.(checksumming); ok {
		return p.fillChecksum(dst, c.grabbed), nil
	}
	c.pattern.Fill(dst, c.grabbed)
	return 0, nil
}

// take takes the frame that waits, whose pixels are to go into dst.
func (c *Camera) take(dst []byte) error {
	switch {
	case c.state != started || !c.waiting:
		return fmt.Errorf("retrieve without a grab: %w", camera.ErrOrder)
	case len(dst) != c.bytes:
		return fmt.Errorf("retrieve into %d bytes, a frame has %d: %w", len(dst), c.bytes, camera.ErrOrder)
	}
	c.waiting = false
	return nil
}

// Close implements [camera.Camera].
func (c *Camera) Close() error {
	c.state, c.waiting = closed, false
	return nil
}

// Pause implements [camera.Pauser].
func (p pausable) Pause() error {
	if p.state != started {
		return fmt.Errorf("pause: %w", camera.ErrOrder)
	}
	return nil
}

// Resume implements [camera.Pauser].
func (p pausable) Resume() error {
	if p.state != started {
		return fmt.Errorf("resume: %w", camera.ErrOrder)
	}
	p.pacer.Resume(p.next)
	return nil
}

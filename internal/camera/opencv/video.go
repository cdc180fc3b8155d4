//go:build opencv

package opencv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"gocv.io/x/gocv"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/pace"
	"github.com/sluicedaq/sluice/internal/run"
)

var (
	_ camera.Camera = (*Video)(nil)
	_ camera.Pauser = (*Video)(nil)
	_ camera.Seeker = (*Video)(nil)
)

// Video plays a video file.
type Video struct {
	s         *stream
	request   request // to open it again for the next round of a loop
	loop      bool
	fps       float64 // of the pacing, 0: none
	announced float64 // frames that the container tells of, 0 where it doesn't
	pacer     *pace.Pacer
	state     state

	next    uint64 // the frame to hand over next, through all rounds of a loop
	round   uint64 // frames taken in of this round
	taken   bool   // a frame is taken in and not handed over yet
	decoded bool   // mat holds it already
	waiting bool   // the frame handed over last can be retrieved
	pts     float64
	lastNS  int64
	base    int64 // device time at which this round of a loop began
	failed  error
}

type state int

const (
	opened state = iota
	started
	closed
)

func newVideo(s *stream, r request, c FileConfig) *Video {
	v := &Video{s: s, request: r, loop: c.Loop, fps: c.FPS, announced: s.get(gocv.VideoCaptureFrameCount), lastNS: -1}
	if c.OwnRate {
		v.fps = s.rate
	}
	v.pacer = pace.New(v.fps)
	v.take()
	v.decoded = true
	return v
}

// take notes the frame that was taken in.
func (v *Video) take() {
	v.taken, v.decoded = true, false
	v.round++
	v.pts = v.s.get(gocv.VideoCapturePosMsec)
}

// Info implements [camera.Camera].
func (v *Video) Info() camera.Info {
	i := camera.Info{
		Geometry: v.s.geometry,
		FPS:      v.fps,
		Device: run.Device{
			Model: "video file", SignificantBits: 8 * v.s.geometry.Dtype.Size(),
			Clock: "player, nanoseconds since the start", Stamps: "the instant at which the frame was due",
			Settings: map[string]string{
				"fps":              strconv.FormatFloat(v.fps, 'g', -1, 64),
				"loop":             strconv.FormatBool(v.loop),
				"announced_frames": strconv.FormatFloat(v.announced, 'g', -1, 64),
				"decoder":          "OpenCV " + gocv.OpenCVVersion(),
			},
		},
		CanPause:    true,
		IDBits:      64,
		IDFromStart: true,
	}
	if v.fps == 0 {
		i.Device.Clock, i.Device.Stamps = "the file's timeline, nanoseconds since its start", "the frame's presentation time"
	}
	return i
}

// Seek implements [camera.Seeker]. It decodes the frames before n: OpenCV's own seeking is not exact.
func (v *Video) Seek(n uint64) error {
	if v.state != opened {
		return fmt.Errorf("seek in a camera that was started: %w", camera.ErrOrder)
	}
	for v.next < n {
		err := v.advance(context.Background())
		if errors.Is(err, io.EOF) {
			return nil // which the first Grab says
		}
		if err != nil {
			return err
		}
		v.lastNS = v.timeline()
		v.next++
		v.taken = false
	}
	return nil
}

// Start implements [camera.Camera].
func (v *Video) Start(ctx context.Context) error {
	if v.state != opened {
		return fmt.Errorf("start of a camera that was started before: %w", camera.ErrOrder)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v.state = started
	v.pacer.StartAt(v.next)
	return nil
}

// Grab implements [camera.Camera].
func (v *Video) Grab(ctx context.Context) (camera.Grabbed, error) {
	if v.state != started {
		return camera.Grabbed{}, fmt.Errorf("grab: %w", camera.ErrOrder)
	}
	v.waiting = false
	if err := ctx.Err(); err != nil {
		return camera.Grabbed{}, err
	}
	if err := v.advance(ctx); err != nil {
		return camera.Grabbed{}, err
	}
	due, err := v.pacer.Wait(ctx, v.next)
	if err != nil {
		return camera.Grabbed{}, err
	}
	if v.fps == 0 {
		due = v.timeline()
	}
	g := camera.Grabbed{FrameID: v.next, DeviceNS: due, Arrived: time.Now()}
	v.lastNS = due
	v.next++
	v.taken, v.waiting = false, true
	return g, nil
}

// timeline is the presentation time of the frame taken in, one period after the last where it doesn't advance.
func (v *Video) timeline() int64 {
	if ns := v.base + int64(v.pts*1e6); ns > v.lastNS {
		return ns
	}
	return v.lastNS + v.period()
}

func (v *Video) period() int64 {
	if v.s.rate > 0 {
		return int64(1e9 / v.s.rate)
	}
	return 1
}

// advance takes in the next frame unless one is there.
func (v *Video) advance(ctx context.Context) error {
	if v.taken || v.failed != nil {
		return v.failed
	}
	if v.s.grab() {
		v.take()
		return nil
	}
	switch {
	case float64(v.round) < 0.9*v.announced:
		v.failed = fmt.Errorf("%w: %s ends after %d of the %.0f frames that it announces: truncated or damaged", camera.ErrFailed, v.request.name, v.round, v.announced)
	case !v.loop:
		v.failed = io.EOF
	default:
		return v.again(ctx)
	}
	return v.failed
}

// again opens the file anew: seeking is not exact in every container.
func (v *Video) again(ctx context.Context) error {
	s, err := openStream(ctx, v.request)
	if ctx.Err() != nil {
		return ctx.Err() // the next Grab tries again
	}
	if err == nil && s.geometry != v.s.geometry {
		err = fmt.Errorf("it has %s now", s.geometry)
		s.close()
	}
	if err != nil {
		v.failed = fmt.Errorf("%w: play %s again: %w", camera.ErrFailed, v.request.name, err)
		return v.failed
	}
	v.s.close()
	v.s, v.round, v.base = s, 0, v.lastNS+v.period()
	v.take()
	v.decoded = true
	return nil
}

// Retrieve implements [camera.Camera]. A frame that does not decode wraps [camera.ErrFailed].
func (v *Video) Retrieve(dst []byte) error {
	switch {
	case v.state != started || !v.waiting:
		return fmt.Errorf("retrieve without a grab: %w", camera.ErrOrder)
	case len(dst) != v.s.geometry.FrameBytes():
		return fmt.Errorf("retrieve into %d bytes, a frame has %d: %w", len(dst), v.s.geometry.FrameBytes(), camera.ErrOrder)
	}
	v.waiting = false
	if !v.decoded && !v.s.retrieve(&v.s.mat) {
		return fmt.Errorf("%w: %s: frame %d does not decode", camera.ErrFailed, v.request.name, v.next-1)
	}
	if err := planes(dst, v.s.geometry, &v.s.mat); err != nil {
		return fmt.Errorf("%w: %s: frame %d: %w", camera.ErrFailed, v.request.name, v.next-1, err)
	}
	return nil
}

// Pause implements [camera.Pauser].
func (v *Video) Pause() error {
	if v.state != started {
		return fmt.Errorf("pause: %w", camera.ErrOrder)
	}
	return nil
}

// Resume implements [camera.Pauser].
func (v *Video) Resume() error {
	if v.state != started {
		return fmt.Errorf("resume: %w", camera.ErrOrder)
	}
	v.pacer.Resume(v.next)
	return nil
}

// Close implements [camera.Camera].
func (v *Video) Close() error {
	if v.state != closed {
		v.state, v.waiting = closed, false
		v.s.close()
	}
	return nil
}

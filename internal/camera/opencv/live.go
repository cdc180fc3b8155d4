//go:build opencv

package opencv

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"gocv.io/x/gocv"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/run"
)

var _ camera.Camera = (*Live)(nil)

const (
	ringBytes  = 16 << 20 // of decoded frames that wait
	ringFrames = 16       // at most
)

// Live is a source that can't stop: a device or a URL.
//
// The reader goroutine owns the stream and the clock fields; buffers travel between it and Grab through free and
// ready, whose capacities hold all of them, so that neither side blocks the other.
type Live struct {
	s       *stream
	name    string
	info    camera.Info
	timeout time.Duration

	begun atomic.Bool // Start was called: count frames
	stop  chan struct{}
	done  chan struct{} // closed when the reader has ended; err says why
	err   error
	free  chan *picture
	ready chan *picture

	state state
	held  *picture // the frame grabbed last

	// The reader's.
	next    uint64
	lastPTS int64
	lastNS  int64
	arrived time.Time
}

// picture is one buffer of the ring.
type picture struct {
	mat     gocv.Mat
	grabbed camera.Grabbed
}

// newLive takes over s and begins to read.
func newLive(s *stream, name, model, clock string, o Timeouts) *Live {
	n := min(max(ringBytes/s.geometry.FrameBytes(), 2), ringFrames)
	l := &Live{
		s: s, name: name, timeout: o.Read,
		info: camera.Info{
			Geometry: s.geometry, FPS: s.rate, IDBits: 64, IDFromStart: true,
			Device: run.Device{
				Model: model, SignificantBits: 8 * s.geometry.Dtype.Size(), Clock: clock, Stamps: "the frame as the source stamps it",
				Settings: map[string]string{"ring": strconv.Itoa(n), "decoder": "OpenCV " + gocv.OpenCVVersion()},
			},
		},
		stop: make(chan struct{}), done: make(chan struct{}),
		free: make(chan *picture, n), ready: make(chan *picture, n),
		lastNS: -1,
	}
	for range n {
		l.free <- &picture{mat: gocv.NewMat()}
	}
	go l.read()
	return l
}

// read takes in every frame as it comes until the source ends or Close stops it.
func (l *Live) read() {
	defer close(l.done)
	var took, before time.Duration
	for {
		asked := time.Now()
		ok := l.s.grab()
		before, took = took, time.Since(asked)
		select {
		case <-l.stop:
			return
		default:
		}
		if !ok {
			l.err = fmt.Errorf("%w: %s ended or broke off", camera.ErrFailed, l.name)
			// After a timeout FFmpeg's decoder may still hand over a frame that it held.
			if max(took, before) >= l.timeout {
				l.err = fmt.Errorf("%w: %s is silent: %w (%v)", camera.ErrFailed, l.name, camera.ErrTimeout, l.timeout)
			}
			return
		}
		g := camera.Grabbed{DeviceNS: l.clock(), Arrived: time.Now()}
		if !l.begun.Load() {
			continue
		}
		g.FrameID = l.next
		l.next++
		select {
		case p := <-l.free:
			g.Incomplete = !l.s.retrieve(&p.mat)
			p.grabbed = g
			l.ready <- p
		default: // nobody takes the frames: this one is lost, and its id tells
		}
	}
}

// clock is the source's time of the frame taken in, or goes on by the time of arrival where that does not advance.
func (l *Live) clock() int64 {
	now := time.Now()
	pts := int64(l.s.get(gocv.VideoCapturePosMsec) * 1e6)
	ns := l.lastNS + max(1, pts-l.lastPTS)
	if l.lastNS < 0 {
		ns = max(pts, 0)
	} else if pts <= l.lastPTS {
		ns = l.lastNS + max(1, int64(now.Sub(l.arrived)))
	}
	l.lastPTS, l.lastNS, l.arrived = pts, ns, now
	return ns
}

// Info implements [camera.Camera].
func (l *Live) Info() camera.Info { return l.info }

// Start implements [camera.Camera].
func (l *Live) Start(ctx context.Context) error {
	if l.state != opened {
		return fmt.Errorf("start of a camera that was started before: %w", camera.ErrOrder)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l.state = started
	l.begun.Store(true)
	return nil
}

// Grab implements [camera.Camera].
func (l *Live) Grab(ctx context.Context) (camera.Grabbed, error) {
	if l.state != started {
		return camera.Grabbed{}, fmt.Errorf("grab: %w", camera.ErrOrder)
	}
	l.giveBack()
	if err := ctx.Err(); err != nil {
		return camera.Grabbed{}, err
	}
	select {
	case l.held = <-l.ready:
		return l.held.grabbed, nil
	default:
	}
	select {
	case l.held = <-l.ready:
		return l.held.grabbed, nil
	case <-ctx.Done():
		return camera.Grabbed{}, ctx.Err()
	case <-l.done:
	}
	// What came before the end is still to be had.
	select {
	case l.held = <-l.ready:
		return l.held.grabbed, nil
	default:
		return camera.Grabbed{}, l.err
	}
}

// giveBack returns the buffer of the frame grabbed last.
func (l *Live) giveBack() {
	if l.held != nil {
		l.free <- l.held
		l.held = nil
	}
}

// Retrieve implements [camera.Camera].
func (l *Live) Retrieve(dst []byte) error {
	switch {
	case l.state != started || l.held == nil:
		return fmt.Errorf("retrieve without a grab: %w", camera.ErrOrder)
	case len(dst) != l.info.Geometry.FrameBytes():
		return fmt.Errorf("retrieve into %d bytes, a frame has %d: %w", len(dst), l.info.Geometry.FrameBytes(), camera.ErrOrder)
	}
	defer l.giveBack()
	if l.held.grabbed.Incomplete {
		clear(dst) // rather than what another frame has left there
		return nil
	}
	if err := planes(dst, l.info.Geometry, &l.held.mat); err != nil {
		return fmt.Errorf("%w: %s: %w", camera.ErrFailed, l.name, err)
	}
	return nil
}

// Close implements [camera.Camera]. It waits for the frame that the reader waits for: at most the read timeout.
func (l *Live) Close() error {
	if l.state == closed {
		return nil
	}
	l.giveBack()
	l.state = closed
	close(l.stop)
	<-l.done
	for range cap(l.free) {
		select {
		case p := <-l.free:
			p.mat.Close()
		case p := <-l.ready:
			p.mat.Close()
		}
	}
	l.s.close()
	return nil
}

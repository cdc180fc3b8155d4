//go:build opencv

package opencv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gocv.io/x/gocv"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Timeouts bound what can't be interrupted in OpenCV. Both must be more than zero.
type Timeouts struct {
	Open time.Duration // until a device or URL is open
	Read time.Duration // between two frames of a live source
}

// stream is an open source whose first frame is decoded into mat.
type stream struct {
	*capture
	mat      gocv.Mat
	geometry frames.Geometry
	rate     float64 // frames per second, 0 where unknown
}

func (s *stream) close() {
	s.capture.close()
	s.mat.Close()
}

// request is what openStream is to open.
type request struct {
	name   string // for errors, without passwords
	uri    string
	api    gocv.VideoCaptureAPI
	params []int
	limit  time.Duration // that openCapture keeps to; 0 where none is set
}

// openStream opens a source and decodes its first frame. OpenCV can't be told to give up, so when ctx ends first
// the call returns, and the attempt ends by itself within its timeouts and closes what it has opened.
func openStream(ctx context.Context, r request) (*stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		s   *stream
		err error
	}
	ready := make(chan result)
	go func() {
		s, err := openNow(r)
		select {
		case ready <- result{s, err}:
		case <-ctx.Done():
			if s != nil {
				s.close()
			}
		}
	}()
	select {
	case r := <-ready:
		return r.s, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", r.name, ctx.Err())
	}
}

func openNow(r request) (*stream, error) {
	began := time.Now()
	fail := func(err error) (*stream, error) {
		if r.limit > 0 && time.Since(began) >= r.limit {
			return nil, fmt.Errorf("%w %s: %w after %v: %w", camera.ErrSource, r.name, camera.ErrTimeout, r.limit, err)
		}
		return nil, fmt.Errorf("%w %s: %w", camera.ErrSource, r.name, err)
	}
	c, err := openCapture(r.uri, r.api, r.params...)
	if err != nil {
		return fail(err)
	}
	s := &stream{capture: c, mat: gocv.NewMat()}
	if !c.grab() || !c.retrieve(&s.mat) {
		s.close()
		return fail(fmt.Errorf("it opens, but its first frame can't be decoded: damaged, truncated or of an unknown codec"))
	}
	if s.geometry, err = geometryOf(&s.mat, c.grey()); err != nil {
		s.close()
		return fail(err)
	}
	if fps := c.get(gocv.VideoCaptureFPS); fps > 0 && fps < 1e6 {
		s.rate = fps
	}
	return s, nil
}

func milliseconds(d time.Duration) int { return int(max(1, d.Milliseconds())) }

// FileConfig says what file to play, as the keys of a file: source.
type FileConfig struct {
	Path    string
	Loop    bool
	FPS     float64 // frames per second, 0: as fast as frames are taken
	OwnRate bool    // use the file's rate instead
}

// OpenFile opens a video file. The error wraps [camera.ErrSource] unless it is the context's.
func OpenFile(ctx context.Context, c FileConfig, o Timeouts) (camera.Camera, error) {
	name := "file:" + c.Path
	path, err := filepath.Abs(c.Path) // which FFmpeg can't take for a URL
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", camera.ErrSource, name, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", camera.ErrSource, name, err)
	}
	st, err := f.Stat()
	if err == nil {
		err = checkExtent(f, st.Size())
	}
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", camera.ErrSource, name, err)
	}
	r := request{
		name: name, uri: path, api: gocv.VideoCaptureFFmpeg,
		params: []int{openTimeoutMS, milliseconds(o.Open), readTimeoutMS, milliseconds(o.Read)},
	}
	s, err := openStream(ctx, r)
	if err != nil {
		return nil, err
	}
	return newVideo(s, r, c), nil
}

// DeviceConfig says which Video4Linux device to open and what to ask it for; zeros leave the choice to it.
type DeviceConfig struct {
	Path          string
	Width, Height int
	FPS           float64
}

// OpenDevice opens a Video4Linux device. The error wraps [camera.ErrSource] unless it is the context's.
func OpenDevice(ctx context.Context, c DeviceConfig, o Timeouts) (camera.Camera, error) {
	name := "v4l2:" + c.Path
	st, err := os.Stat(c.Path)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", camera.ErrSource, name, err)
	}
	if st.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%w %s: it is no device: want for example v4l2:/dev/video0", camera.ErrSource, name)
	}
	r := request{name: name, uri: c.Path, api: gocv.VideoCaptureV4L2}
	if c.Width > 0 {
		r.params = append(r.params, int(gocv.VideoCaptureFrameWidth), c.Width, int(gocv.VideoCaptureFrameHeight), c.Height)
	}
	if c.FPS > 0 {
		// OpenCV's parameters for open are whole numbers.
		r.params = append(r.params, int(gocv.VideoCaptureFPS), max(1, int(c.FPS+0.5)))
	}
	s, err := openStream(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%w (is it a camera, and free?)", err)
	}
	if c.Width > 0 && (s.geometry.Width != c.Width || s.geometry.Height != c.Height) {
		err := fmt.Errorf("%w %s: it delivers %dx%d where %dx%d was asked for", camera.ErrSource, name, s.geometry.Width, s.geometry.Height, c.Width, c.Height)
		s.close()
		return nil, err
	}
	return newLive(s, name, "Video4Linux device", "the driver's timestamp of the buffer, nanoseconds", o), nil
}

// OpenURL opens a live URL. The error wraps [camera.ErrSource] unless it is the context's.
func OpenURL(ctx context.Context, url string, o Timeouts) (camera.Camera, error) {
	name := camera.Redact("video:" + url)
	s, err := openStream(ctx, request{
		name: name, uri: url, api: gocv.VideoCaptureFFmpeg, limit: o.Open,
		params: []int{openTimeoutMS, milliseconds(o.Open), readTimeoutMS, milliseconds(o.Read)},
	})
	if err != nil {
		return nil, err
	}
	return newLive(s, name, "live stream", "the stream's presentation time, nanoseconds since its beginning", o), nil
}

// Package source opens the camera that a source URI names. It is apart from package camera because it knows
// every kind of camera, and they know that package.
package source

import (
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/file"
	"github.com/sluicedaq/sluice/internal/camera/sim"
)

// Options are what a caller may want other than by default.
type Options struct {
	// OpenTimeout bounds how long a device or a live URL may take until its first frame; 0 means 10 s.
	OpenTimeout time.Duration
	// ReadTimeout is how long a live source may be silent before it has failed; 0 means 10 s.
	ReadTimeout time.Duration
}

// defaultTimeout is that of both Options.
const defaultTimeout = 10 * time.Second

// Check reads a URI and its keys without opening anything. What it accepts can still be missing. The error
// wraps [camera.ErrSource].
func Check(uri string) error {
	s, err := camera.ParseSource(uri)
	if err != nil {
		return err
	}
	switch s.Scheme {
	case camera.SchemeSim:
		_, err = sim.Parse(s)
	case camera.SchemeFile:
		_, err = file.Parse(s)
	case camera.SchemeV4L2:
		_, err = parseDevice(s)
	case camera.SchemeVideo:
		err = s.Keys().Err()
	}
	return err
}

// Open opens the camera that uri names; it is not started. It blocks no longer than ctx and the timeouts allow.
// The error wraps [camera.ErrSource].
func Open(ctx context.Context, uri string, o Options) (camera.Camera, error) {
	if o.OpenTimeout == 0 {
		o.OpenTimeout = defaultTimeout
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultTimeout
	}
	s, err := camera.ParseSource(uri)
	if err != nil {
		return nil, err
	}
	switch s.Scheme {
	case camera.SchemeSim:
		c, err := sim.Parse(s)
		if err != nil {
			return nil, err
		}
		return sim.New(c)
	case camera.SchemeFile:
		return openFile(ctx, s, o)
	case camera.SchemeV4L2:
		d, err := parseDevice(s)
		if err != nil {
			return nil, err
		}
		return openDevice(ctx, d, o)
	default:
		if err := s.Keys().Err(); err != nil {
			return nil, err
		}
		return openURL(ctx, s.Path, o)
	}
}

// openFile reads images and Y4M itself and leaves every other file to OpenCV.
func openFile(ctx context.Context, s camera.Source, o Options) (camera.Camera, error) {
	c, err := file.Parse(s)
	if err != nil {
		return nil, err
	}
	cam, err := file.Open(ctx, c)
	if errors.Is(err, file.ErrFormat) {
		return openVideo(ctx, c, o)
	}
	return cam, err
}

// device is a V4L2 source: zero sizes and rates are the device's own choice.
type device struct {
	Path          string
	Width, Height int
	FPS           float64
}

func parseDevice(s camera.Source) (device, error) {
	d := device{Path: s.Path}
	k := s.Keys("width", "height", "fps")
	d.Width = k.Int("width", 0, 1, 1<<16)
	d.Height = k.Int("height", 0, 1, 1<<16)
	d.FPS = k.Float("fps", 0, 0.001, 1e6, "frames per second")
	k.Check(k.Has("width") == k.Has("height"), "width", "width and height together")
	return d, k.Err()
}

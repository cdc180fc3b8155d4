package file

import (
	"errors"

	"github.com/sluicedaq/sluice/internal/camera"
)

// ErrFormat marks a file that is neither Y4M, PNG nor TIFF. It comes with [camera.ErrSource].
var ErrFormat = errors.New("format")

// Config says what to play.
type Config struct {
	Path string
	Loop bool
	// FPS is the rate asked for, in frames per second: 0 means as fast as frames are taken. OwnRate says to
	// use the file's instead.
	FPS     float64
	OwnRate bool
}

// Parse reads the keys of a file: source. The error wraps [camera.ErrSource].
func Parse(s camera.Source) (Config, error) {
	k := s.Keys("loop", "fps")
	c := Config{Path: s.Path, Loop: k.Bool("loop", false), OwnRate: !k.Has("fps")}
	c.FPS = k.Float("fps", 0, 0, 1e6, "frames per second")
	k.Check(c.FPS == 0 || c.FPS >= 1e-3, "fps", "0 (as fast as it can) or at least 0.001 frames per second")
	return c, k.Err()
}

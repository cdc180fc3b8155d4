package analysis

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Config says what an Analyzer does. The zero values of all but Camera, Member and Messenger stand for the
// defaults that Default gives.
type Config struct {
	Camera    string
	Member    string // this member's name
	Messenger Messenger
	Log       *slog.Logger
	// Refusals takes down partial results that are not taken; nil is nobody.
	Refusals *refusal.Book

	// Rows and Cols are the grid of tiles.
	Rows, Cols int
	// Segment is the length of Welch's segments in frames; 0 chooses one for each run, see
	// spectrum.AutoSegment.
	Segment int
	// Window is that of the spatial spectra. The temporal ones always have a Hann window.
	Window spectrum.Window
	// Every is how often each spectrum is published at most, PreviewEvery how often a preview is; a negative
	// PreviewEvery stands for never.
	Every, PreviewEvery time.Duration
	// MaxPlaneBytes bounds the planes of the 2-D transform, SeriesBytes the combiner's memory of samples,
	// QueueBytes the partial results that wait for the combiner.
	MaxPlaneBytes, SeriesBytes, QueueBytes int64
	// Quiet is how long the combiner waits at the end for members that say nothing.
	Quiet time.Duration
	// AckWait is how long the final result is repeated until it is answered.
	AckWait time.Duration
}

// Default has every default but those of Camera, Member and Messenger.
func Default() Config {
	return Config{
		Log:  slog.New(slog.DiscardHandler),
		Rows: 8, Cols: 8,
		Window:        spectrum.WindowHann,
		Every:         time.Second,
		PreviewEvery:  fastestPreview,
		MaxPlaneBytes: spectrum.DefaultPlaneBytes,
		SeriesBytes:   spectrum.DefaultSeriesBytes,
		QueueBytes:    32 << 20,
		Quiet:         3 * time.Second,
		AckWait:       5 * time.Second,
	}
}

// The shortest times between results: 5 a second.
const (
	fastestSpectrum = 200 * time.Millisecond
	fastestPreview  = 200 * time.Millisecond
)

// complete fills in the defaults and checks the rest.
func (c Config) complete() (Config, error) {
	d := Default()
	set(&c.Log, d.Log)
	set(&c.Rows, d.Rows)
	set(&c.Cols, d.Cols)
	set(&c.Window, d.Window)
	set(&c.Every, d.Every)
	set(&c.PreviewEvery, d.PreviewEvery)
	set(&c.MaxPlaneBytes, d.MaxPlaneBytes)
	set(&c.SeriesBytes, d.SeriesBytes)
	set(&c.QueueBytes, d.QueueBytes)
	set(&c.Quiet, d.Quiet)
	set(&c.AckWait, d.AckWait)
	if err := frames.ValidCamera(c.Camera); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := frames.ValidCamera(c.Member); err != nil {
		return c, fmt.Errorf("%w: the member's name: %w", ErrConfig, err)
	}
	if c.Messenger == nil {
		return c, fmt.Errorf("%w: no messenger", ErrConfig)
	}
	if err := c.Window.Validate(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if c.Rows < 1 || c.Rows > spectrum.MaxGrid || c.Cols < 1 || c.Cols > spectrum.MaxGrid {
		return c, fmt.Errorf("%w: a grid of %d x %d tiles: each is 1 to %d", ErrConfig, c.Rows, c.Cols, spectrum.MaxGrid)
	}
	if c.Segment != 0 {
		if err := spectrum.ValidSegment(c.Segment); err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	c.Every = max(c.Every, fastestSpectrum)
	if c.PreviewEvery > 0 {
		c.PreviewEvery = max(c.PreviewEvery, fastestPreview)
	}
	return c, nil
}

// set gives a zero value its default.
func set[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

package analysis

import (
	"fmt"
	"log/slog"
	"runtime"
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
	// All has a spatial spectrum computed of every frame that the member is given, instead of one for each that is
	// published. Where Share is 1 a frame waits for a worker, else it goes without when none is free.
	All bool
	// Workers is how many spatial spectra are computed at a time, 1 to MaxWorkers; 0 stands for 1, and with All for
	// one less than there are processors. Each has planes of its own, as long as MaxPlaneBytes hold them.
	Workers int
	// Share is the part of its time that a worker works at most, from LeastShare to 1; 0 stands for a half, and with
	// All for 1.
	Share float64
	// MaxPlaneBytes bounds the planes of the 2-D transform, SeriesBytes the combiner's memory of samples,
	// QueueBytes the partial results that wait for the combiner.
	MaxPlaneBytes, SeriesBytes, QueueBytes int64
	// Stated, if not nil, is called with the memory that a run takes, as the member states it when it joins.
	Stated func(bytes int64)
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

// The bounds of a Config: of the times between results, of the workers and of their share of the time.
const (
	FastestSpectrum = 50 * time.Millisecond
	fastestPreview  = 200 * time.Millisecond
	MaxWorkers      = 64
	LeastShare      = 0.01
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
	workers, share := 1, 0.5
	if c.All {
		workers, share = max(1, runtime.GOMAXPROCS(0)-1), 1
	}
	set(&c.Workers, workers)
	set(&c.Share, share)
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
	if c.Every < FastestSpectrum {
		return c, fmt.Errorf("%w: a spectrum every %s: want %s at least", ErrConfig, c.Every, FastestSpectrum)
	}
	if c.Workers < 1 || c.Workers > MaxWorkers {
		return c, fmt.Errorf("%w: %d workers: want 1 to %d", ErrConfig, c.Workers, MaxWorkers)
	}
	if !(c.Share >= LeastShare && c.Share <= 1) {
		return c, fmt.Errorf("%w: a share of %v: want %v to 1", ErrConfig, c.Share, LeastShare)
	}
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

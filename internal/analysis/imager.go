package analysis

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// imager makes spatial spectra, and previews now and then. Its workers read what they need of a frame's pixels at once, so
// that no frame waits for the rest of a transform, and rest afterwards until they have worked for their share of the time.
type imager struct {
	cfg     Config
	spec    run.Spec
	clock   clock.Run
	log     *slog.Logger
	tiles   *spectrum.Tiles
	effort  *effort
	preview *spectrum.Preview
	workers []*transformer
	free    chan *transformer
	// done is called when a frame's pixels are not needed any more.
	done    func(f link.Offered, means []float64, err error)
	life    sync.WaitGroup // of the workers
	inWork  sync.WaitGroup // a frame each
	closing chan struct{}
	painted time.Time // when a preview was begun; the caller's
	results results

	mu       sync.Mutex // guards what follows
	painting bool       // a preview is being made
}

// job is what a worker is to make of a frame.
type job struct {
	offered           link.Offered
	header            frames.Header // the frame's, which is given back before the job is done
	coverage          SpatialCoverage
	spectrum, picture bool
}

// newImager makes the plans and starts the workers. done is called, by any goroutine, for each frame that take has taken:
// with its means, or with the error, which wraps frames.ErrReclaimed when it changed while it was read.
func newImager(cfg Config, spec run.Spec, c clock.Run, tiles *spectrum.Tiles, log *slog.Logger, e *effort,
	done func(f link.Offered, means []float64, err error),
) (*imager, error) {
	preview, err := spectrum.NewPreview(spec.Geometry)
	if err != nil {
		return nil, err
	}
	spatial, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: spec.Geometry, Window: cfg.Window, Peaks: spectrum.DefaultPeaks, MaxBytes: cfg.MaxPlaneBytes, Tiles: tiles,
	})
	if err != nil {
		return nil, err
	}
	if h, w := spatial.Region(); h < spec.Geometry.Height || w < spec.Geometry.Width {
		log.Warn("the planes of a whole frame need more memory than they may: spatial spectra are of its middle",
			"limit", cfg.MaxPlaneBytes, "height", h, "width", w, "frame", spec.Geometry.String())
	}
	i := &imager{
		cfg: cfg, spec: spec, clock: c, log: log, tiles: tiles, effort: e, preview: preview, done: done,
		free: make(chan *transformer, cfg.Workers), closing: make(chan struct{}),
	}
	i.workers = append(i.workers, newTransformer(i, spatial, tiles.Values()))
	for len(i.workers) < cfg.Workers && spatial.Bytes()+int64(len(i.workers))*spatial.OwnBytes() <= cfg.MaxPlaneBytes {
		i.workers = append(i.workers, newTransformer(i, spatial.Another(), tiles.Values()))
	}
	if n := len(i.workers); n < cfg.Workers {
		log.Warn("the planes of so many workers need more memory than they may", "limit", cfg.MaxPlaneBytes, "workers", n, "asked", cfg.Workers)
	}
	for _, t := range i.workers {
		i.free <- t
		i.life.Go(t.run)
	}
	return i, nil
}

// take has a spectrum computed of a frame, or a preview made, when it is time for it; newest says that no newer frame is at
// hand, pictures whether previews are this member's to publish. It reports false, and leaves the frame to the caller, when
// it is not, or when nobody is free. Where every frame is to have its spectrum it waits for somebody.
func (i *imager) take(f link.Offered, newest, pictures bool, coverage SpatialCoverage) bool {
	now := time.Now()
	j := job{
		offered: f, header: f.Frame.Header, coverage: coverage, spectrum: i.cfg.All || newest && i.results.due(now),
		picture: newest && pictures && i.cfg.PreviewEvery > 0 && now.Sub(i.painted) >= i.cfg.PreviewEvery,
	}
	if !j.spectrum && !j.picture {
		return false
	}
	var t *transformer
	if i.cfg.All && i.cfg.Share >= 1 {
		t = <-i.free
	} else {
		select {
		case t = <-i.free:
		default:
			return false
		}
	}
	if j.picture = j.picture && i.paint(); j.picture {
		i.painted = now
	}
	if j.spectrum && !i.cfg.All {
		i.results.plan(now.Add(i.cfg.Every))
	}
	i.inWork.Add(1)
	i.effort.work(1)
	t.jobs <- j // it is free: there is room
	return true
}

// paint begins a preview, unless one is being made.
func (i *imager) paint() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	begun := !i.painting
	i.painting = true
	return begun
}

// endPaint says that the preview is done with.
func (i *imager) endPaint() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.painting = false
}

// settle waits for the frames in work, and publishes what is left of an interval.
func (i *imager) settle() {
	i.inWork.Wait()
	i.results.flush(i)
}

// close waits for the frames in work and ends the workers. No take comes after it.
func (i *imager) close() {
	i.settle()
	close(i.closing)
	for _, t := range i.workers {
		close(t.jobs)
	}
	i.life.Wait()
}

// bytes is the memory that the imager holds.
func (i *imager) bytes() int64 {
	first := i.workers[0].spatial
	return i.preview.Bytes() + first.Bytes() + int64(len(i.workers)-1)*first.OwnBytes()
}

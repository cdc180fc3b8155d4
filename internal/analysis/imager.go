package analysis

import (
	"cmp"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// imager makes spatial spectra and previews of a frame now and then. What it needs of the pixels it copies at
// once, so that no frame waits for a transform; a goroutine of its own does the rest, for at most half of its
// time, so that it takes no more than half of one CPU.
type imager struct {
	cfg       Config
	spec      run.Spec
	clock     clock.Run
	log       *slog.Logger
	spatial   *spectrum.Spatial
	preview   *spectrum.Preview
	jobs      chan job
	work      sync.WaitGroup
	n         uint64    // of spatial results; the worker's
	published time.Time // when a preview was; the caller's

	mu           sync.Mutex // guards what follows
	busy         bool
	nextSpectrum time.Time
	rest         time.Time // no work before
}

// job is what the worker is to make of what was loaded.
type job struct {
	header            frames.Header
	coverage          SpatialCoverage
	spectrum, picture bool
}

func newImager(cfg Config, spec run.Spec, c clock.Run, log *slog.Logger) (*imager, error) {
	spatial, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: spec.Geometry, Window: cfg.Window, Peaks: spectrum.DefaultPeaks, MaxBytes: cfg.MaxPlaneBytes,
	})
	if err != nil {
		return nil, err
	}
	preview, err := spectrum.NewPreview(spec.Geometry)
	if err != nil {
		return nil, err
	}
	i := &imager{cfg: cfg, spec: spec, clock: c, log: log, spatial: spatial, preview: preview, jobs: make(chan job, 1)}
	i.work.Go(i.run)
	return i, nil
}

// look takes a frame if it is time for one; pictures says whether previews are this member's to
// publish. It does not keep the frame. The error wraps frames.ErrReclaimed when the frame changed while it was read.
func (i *imager) look(f *frames.Frame, pictures bool, c SpatialCoverage) error {
	now := time.Now()
	i.mu.Lock()
	idle := !i.busy && !now.Before(i.rest)
	j := job{
		header: f.Header, coverage: c,
		spectrum: idle && !now.Before(i.nextSpectrum),
		picture:  idle && pictures && i.cfg.PreviewEvery > 0 && now.Sub(i.published) >= i.cfg.PreviewEvery,
	}
	i.mu.Unlock()
	if !j.spectrum && !j.picture {
		return nil
	}
	pixels, err := f.Pixels()
	if err != nil {
		return err
	}
	if j.spectrum {
		if fault := frames.Guard(pixels, func() { err = i.spatial.Load(pixels) }); fault != nil || err != nil {
			return cmp.Or(fault, err)
		}
	}
	if j.picture {
		if fault := frames.Guard(pixels, func() { err = i.preview.Load(pixels) }); fault != nil || err != nil {
			return cmp.Or(fault, err)
		}
		i.published = now
	}
	if err := f.Intact(); err != nil {
		return err
	}
	i.mu.Lock()
	i.busy = true
	if j.spectrum {
		i.nextSpectrum = now.Add(i.cfg.Every)
	}
	i.mu.Unlock()
	i.jobs <- j // it is idle: there is room
	return nil
}

// run does jobs until close.
func (i *imager) run() {
	for j := range i.jobs {
		began := time.Now()
		if j.picture {
			i.publishPreview(j)
		}
		if j.spectrum {
			i.publishSpectrum(j)
		}
		ended := time.Now()
		i.mu.Lock()
		i.busy, i.rest = false, ended.Add(ended.Sub(began))
		i.mu.Unlock()
	}
}

func (i *imager) publishSpectrum(j job) {
	s := i.spatial.Compute()
	i.n++
	line, err := i.cfg.Messenger.Encode(TypeSpatial, i.spec.Run, newSpatial(s, j.header, i.n, j.coverage, lag(i.clock, j.header.HostNS)))
	if err == nil {
		err = i.cfg.Messenger.Publish(bus.SpatialSubject(i.spec.Camera), nil, line)
	}
	if err != nil {
		i.log.Debug("a spatial spectrum is lost", "seq", j.header.Seq, "error", err)
	}
}

// publishPreview publishes a JPEG image. What it shows is in the message's headers.
func (i *imager) publishPreview(j job) {
	image, height, width, stretch, err := i.preview.JPEG()
	if err != nil {
		i.log.Error("making a preview", "seq", j.header.Seq, "error", err)
		return
	}
	header := map[string]string{
		"Content-Type":     "image/jpeg",
		"Sluice-Run":       i.spec.Run.String(),
		"Sluice-Process":   i.cfg.Member,
		"Sluice-Seq":       strconv.FormatUint(j.header.Seq, 10),
		"Sluice-Device-NS": strconv.FormatInt(j.header.DeviceNS, 10),
		"Sluice-Host-NS":   strconv.FormatInt(j.header.HostNS, 10),
		"Sluice-Width":     strconv.Itoa(width),
		"Sluice-Height":    strconv.Itoa(height),
		"Sluice-Low":       strconv.Itoa(stretch.Low),
		"Sluice-High":      strconv.Itoa(stretch.High),
	}
	if err := i.cfg.Messenger.Publish(bus.PreviewSubject(i.spec.Camera), header, image); err != nil {
		i.log.Debug("a preview is lost", "seq", j.header.Seq, "error", err)
	}
}

// close waits for the job in work. No look comes after it.
func (i *imager) close() {
	close(i.jobs)
	i.work.Wait()
}

// bytes is the memory that the imager holds.
func (i *imager) bytes() int64 { return i.spatial.Bytes() + i.preview.Bytes() }

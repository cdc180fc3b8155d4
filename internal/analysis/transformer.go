package analysis

import (
	"cmp"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// transformer is a worker of an imager: it has memory of its own for the transform of one frame at a time.
type transformer struct {
	imager  *imager
	spatial *spectrum.Spatial
	means   []float64
	result  spectrum.SpatialSpectrum
	jobs    chan job
}

func newTransformer(i *imager, s *spectrum.Spatial, values int) *transformer {
	return &transformer{imager: i, spatial: s, means: make([]float64, values), jobs: make(chan job, 1)}
}

// run does jobs until the imager closes.
func (t *transformer) run() {
	i := t.imager
	for j := range t.jobs {
		began := time.Now()
		err := t.load(j)
		i.done(j.offered, t.means, err)
		if err == nil && j.picture {
			i.publishPreview(j)
		}
		if j.picture {
			i.endPaint()
		}
		switch {
		case !j.spectrum:
		case err == nil:
			t.spatial.ComputeTo(&t.result)
			i.results.add(i, t, j)
		default:
			i.results.plan(time.Time{}) // of the next frame then
		}
		i.effort.work(-1)
		i.inWork.Done()
		t.rest(time.Since(began))
		i.free <- t
	}
}

// rest waits until the time that the worker has worked is its share.
func (t *transformer) rest(worked time.Duration) {
	share := t.imager.cfg.Share
	if share >= 1 {
		return
	}
	timer := time.NewTimer(time.Duration(float64(worked) * (1 - share) / share))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.imager.closing:
	}
}

// load reads what it needs of a frame's pixels, and checks that they were the same all the while.
func (t *transformer) load(j job) error {
	f := j.offered.Frame
	pixels, err := f.Pixels()
	if err != nil {
		return err
	}
	read := func() error { return t.imager.tiles.Means(t.means, pixels) }
	if j.spectrum {
		read = func() error { return t.spatial.LoadMeans(t.means, pixels) }
	}
	if fault := frames.Guard(pixels, func() { err = read() }); fault != nil || err != nil {
		return cmp.Or(fault, err)
	}
	if j.picture {
		if fault := frames.Guard(pixels, func() { err = t.imager.preview.Load(pixels) }); fault != nil || err != nil {
			return cmp.Or(fault, err)
		}
	}
	return f.Intact()
}

// publishPreview publishes a JPEG image. What it shows is in the message's headers.
func (i *imager) publishPreview(j job) {
	h := j.header
	image, height, width, stretch, err := i.preview.JPEG()
	if err != nil {
		i.log.Error("making a preview", "seq", h.Seq, "error", err)
		return
	}
	header := map[string]string{
		"Content-Type":     "image/jpeg",
		"Sluice-Run":       i.spec.Run.String(),
		"Sluice-Process":   i.cfg.Member,
		"Sluice-Seq":       strconv.FormatUint(h.Seq, 10),
		"Sluice-Device-NS": strconv.FormatInt(h.DeviceNS, 10),
		"Sluice-Host-NS":   strconv.FormatInt(h.HostNS, 10),
		"Sluice-Width":     strconv.Itoa(width),
		"Sluice-Height":    strconv.Itoa(height),
		"Sluice-Low":       strconv.Itoa(stretch.Low),
		"Sluice-High":      strconv.Itoa(stretch.High),
	}
	if err := i.cfg.Messenger.Publish(bus.PreviewSubject(i.spec.Camera), header, image); err != nil {
		i.log.Debug("a preview is lost", "seq", h.Seq, "error", err)
	}
}

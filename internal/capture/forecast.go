package capture

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/speed"
)

const (
	// spareShare is the part of what a disk has taken up to which it keeps up without a word of caution.
	spareShare = 0.8
	// A run says something about its disk when it took at least leastRun, and the budget was more than open for
	// heldUpShare of it.
	leastRun    = 5 * time.Second
	heldUpShare = 0.5
)

// forecast says how long the budget will last; nil where neither the camera's rate nor the disk's is known.
func (s *session) forecast() *bus.Forecast {
	store := s.c.cfg.Dispatcher.Account().StorePath
	known, ok := s.c.cfg.Speeds.Find(store, speed.Codec(s.spec.Codec, s.spec.Level), s.spec.Geometry.FrameBytes())
	if !ok {
		return predict(s.spec, s.slots-s.spare, s.expected(), nil)
	}
	return predict(s.spec, s.slots-s.spare, s.expected(), &known)
}

// predict is the forecast for a budget of so many slots and a run of so many frames, 0 where nobody knows. known is what the disk has taken, nil where nobody knows.
func predict(spec run.Spec, slots int, frames uint64, known *speed.Figure) *bus.Forecast {
	size := spec.Geometry.FrameBytes()
	f := bus.Forecast{FramesPerSecond: spec.FPS, BytesPerSecond: spec.FPS * float64(size)}
	took := ""
	if known != nil {
		f.DiskFramesPerSecond, f.DiskBytesPerSecond = known.FramesPerSecond(size), known.BytesPerSecond
		f.DiskKnown, f.DiskTime = known.From, &known.Time
		took = fmt.Sprintf("it took %s frames/s (%s, %s)", rounded(f.DiskFramesPerSecond), origin(known.From), known.Time.Format(time.DateOnly))
	}
	at := fmt.Sprintf("at %s frames/s (%s a second)", rounded(f.FramesPerSecond), humanize.Bytes(uint64(f.BytesPerSecond)))
	if f.FramesPerSecond > 0 {
		f.StandstillSeconds = float64(slots) / f.FramesPerSecond
	}
	switch {
	case known == nil && f.FramesPerSecond == 0:
		return nil
	case f.FramesPerSecond == 0:
		f.Text = "the disk is known: " + took
		return &f
	case known == nil:
		f.Text = fmt.Sprintf("%s the budget bridges %s in which the disk takes nothing; what it can take, `sluice bench disk` finds out",
			at, lasting(f.StandstillSeconds))
		return &f
	}
	keeps := f.FramesPerSecond <= f.DiskFramesPerSecond
	f.KeepsUp = &keeps
	switch {
	case f.FramesPerSecond <= spareShare*f.DiskFramesPerSecond:
		f.Text = fmt.Sprintf("%s the disk keeps up: %s", at, took)
		return &f
	case keeps:
		f.Text = fmt.Sprintf("%s the disk keeps up, with little to spare: %s", at, took)
		return &f
	}
	full := float64(slots) / (f.FramesPerSecond - f.DiskFramesPerSecond)
	f.SecondsToFull = &full
	if took := float64(frames) / f.FramesPerSecond; frames > 0 && took <= full {
		f.Text = fmt.Sprintf("%s the disk does not keep up, and the budget is enough for this run's %s: ", at, lasting(took))
	} else {
		f.Text = fmt.Sprintf("%s the budget is full after %s, the disk does not keep up: ", at, lasting(full))
	}
	f.Text += took
	return &f
}

// noteSpeed remembers what the disk took of a run that it held up.
func (s *session) noteSpeed(sum run.Summary) {
	if !heldUp(sum) || s.opts.AnalyzePolicy == "lossless" { // the analysis may have been what held it up then
		return
	}
	rate := float64(sum.Bytes) / sum.Seconds
	err := s.c.cfg.Speeds.Note(sum.Store, speed.Codec(s.spec.Codec, s.spec.Level), s.spec.Geometry.FrameBytes(), rate, speed.FromRun)
	if err != nil {
		s.c.cfg.Logger.Debug("the disk's speed is not kept", "error", err)
	}
}

// heldUp reports whether a run's rate was its writers'.
func heldUp(s run.Summary) bool {
	return s.Seconds >= leastRun.Seconds() && s.ThrottledSeconds >= heldUpShare*s.Seconds && s.Restarts == 0 && s.Bytes > 0
}

// origin is where a figure comes from, in words.
func origin(from string) string {
	if from == speed.FromBench {
		return "sluice bench"
	}
	return "a run that it held up"
}

// rounded is a rate for people.
func rounded(perSecond float64) string {
	if perSecond >= 100 {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.3g", perSecond)
}

// lasting is a time for people.
func lasting(seconds float64) string {
	const longest = 1000 * time.Hour // beyond it a Duration would end too
	d := time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

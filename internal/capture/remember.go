package capture

import (
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/slab"
)

// rememberPeriod is how old what a killed acquire has kept of its times may be.
const rememberPeriod = 100 * time.Millisecond

// remember keeps in the slab what a summary needs and this process alone knows: a later acquire may have to write it.
func (s *session) remember() {
	s.slab.SetTally(slab.PausedNS, int64(s.pausedTime()))
	s.slab.SetTally(slab.ThrottledNS, int64(s.throttledTime()))
	s.slab.SetTally(slab.PeakBytes, s.peak())
}

// rememberOften remembers until the function that it returns is called.
func (s *session) rememberOften() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(rememberPeriod)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				s.remember()
			}
		}
	}()
	return func() { close(quit); <-done }
}

// noteEnd keeps what ended the run, and what its summary will need.
func (s *session) noteEnd(by string) {
	s.remember()
	if err := s.slab.End(by); err != nil {
		s.c.cfg.Logger.Error("the reason for the run's end is not kept", "error", err)
	}
}

// pausedTime is how long the camera was paused in the run, throttledTime how long the budget was more than open.
func (s *session) pausedTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.paused
	}
	return s.paused + time.Since(s.since)
}

func (s *session) throttledTime() time.Duration {
	g := s.budget.Gauge()
	return s.before.throttled + g.Throttled + g.Full
}

// warned lists the summary's warnings so far; it is never nil.
func (s *session) warned() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.warnings...)
}

// warning adds a line to the summary's warnings.
func (s *session) warning(text string) {
	s.mu.Lock()
	s.warnings = append(s.warnings, text)
	all := slices.Clone(s.warnings)
	s.mu.Unlock()
	if err := s.slab.SetWarnings(all); err != nil {
		s.c.cfg.Logger.Error("a warning is not kept", "error", err)
	}
}

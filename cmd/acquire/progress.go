package main

import (
	"log/slog"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/monitor"
)

// progress logs how a run goes now and then, where nobody else shows it. It is told each status, by one goroutine at a
// time.
type progress struct {
	every time.Duration // 0 for never
	log   *slog.Logger
	next  time.Time
}

// told logs the first status of a run, and then one each time that the period is over.
func (p *progress) told(s bus.Status, now time.Time) {
	switch {
	case p.every == 0:
	case s.Run.IsZero():
		p.next = time.Time{}
	case !now.Before(p.next):
		p.next = now.Add(p.every)
		p.log.Info(monitor.Line(s), "run", s.Run.Short())
	}
}

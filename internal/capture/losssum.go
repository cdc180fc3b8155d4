package capture

import (
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// lossPeriod is how often losses of a kind are told: those that come between are summed.
const lossPeriod = time.Second

// lossKind is what losses that are told together have in common.
type lossKind struct {
	run    frames.RunID
	reason frames.State
	stage  frames.Stage
}

// lossSum gathers the losses of a kind.
type lossSum struct {
	told   time.Time // when the last ones were
	frames uint64    // not told
	ranges uint64
	hull   frames.Loss // from the first to the last
}

// add takes a range into the sum.
func (s *lossSum) add(l frames.Loss) {
	switch h := &s.hull; {
	case s.ranges == 0:
		s.ranges, *h = 1, l
	case l.Seq == h.End() && s.ranges == 1:
		*h = l.Join(*h)
	default:
		s.ranges++
		end := max(h.End(), l.End())
		if l.End() == end {
			h.LastFrameID = l.LastFrameID
		}
		if l.Seq < h.Seq {
			h.Seq, h.FirstFrameID = l.Seq, l.FirstFrameID
		}
		h.FirstNS, h.LastNS = min(h.FirstNS, l.FirstNS), max(h.LastNS, l.LastNS)
		h.Count = end - h.Seq
	}
	s.frames += l.Count
}

// take is the event of what was gathered, which is nothing afterwards.
func (s *lossSum) take(now time.Time) bus.Event {
	e := bus.Event{
		Kind: bus.EventFramesLost, Loss: bus.LossOf(s.hull),
		Text: fmt.Sprintf("%d frames lost from %d on: %s", s.frames, s.hull.Seq, s.hull.Reason),
	}
	if s.ranges > 1 {
		e.Loss.Count, e.Loss.Ranges, e.Loss.EndSeq = s.frames, s.ranges, s.hull.End()
		e.Text = fmt.Sprintf("%d frames lost between %d and %d: %s", s.frames, s.hull.Seq, s.hull.End(), s.hull.Reason)
	}
	*s = lossSum{told: now}
	return e
}

// lose gathers lost frames, and tells of them unless some of their kind were told a moment ago. h.mu is held.
func (h *Herald) lose(run frames.RunID, l frames.Loss) {
	kind := lossKind{run, l.Reason, l.Stage}
	s := h.lost[kind]
	if s == nil {
		s = &lossSum{}
		h.lost[kind] = s
	}
	s.add(l)
	if now := time.Now(); now.Sub(s.told) >= lossPeriod {
		h.queue(news{run: run, event: new(s.take(now))})
	}
}

// tellLost tells of the losses that were gathered for long enough, or of all of a run's.
func (h *Herald) tellLost(due func(lossKind, *lossSum) bool) {
	now := time.Now()
	for kind, s := range h.lost {
		switch {
		case !due(kind, s):
		case s.frames > 0:
			h.queue(news{run: kind.run, event: new(s.take(now))})
		default:
			delete(h.lost, kind)
		}
	}
}

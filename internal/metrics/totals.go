package metrics

import (
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// totals are what a camera's runs add up to. A status has them of one run, and begins anew with the next.
type totals struct {
	captured, durable, analyzed, skipped uint64
	lost                                 map[string]uint64
	throttled, paused                    float64 // seconds
}

// of is the part of a run that goes on.
func of(s bus.Status) totals {
	if s.Run.IsZero() {
		return totals{}
	}
	return totals{
		captured: s.Captured, durable: s.Durable, analyzed: s.Analyzed, skipped: s.Skipped, lost: s.LostByReason,
		throttled: s.Budget.ThrottledSeconds, paused: s.Budget.PausedSeconds,
	}
}

// ofEnded is the part of a run that is over.
func ofEnded(s run.Summary) totals {
	return totals{
		captured: s.Captured, durable: s.Written, analyzed: s.Analyzed, skipped: s.Skipped, lost: s.LostByReason,
		throttled: s.ThrottledSeconds, paused: s.PausedSeconds,
	}
}

func (t totals) add(o totals) totals {
	sum := totals{
		captured: t.captured + o.captured, durable: t.durable + o.durable, analyzed: t.analyzed + o.analyzed, skipped: t.skipped + o.skipped,
		lost: map[string]uint64{}, throttled: t.throttled + o.throttled, paused: t.paused + o.paused,
	}
	for _, m := range []map[string]uint64{t.lost, o.lost} {
		for reason, n := range m {
			sum.lost[reason] += n
		}
	}
	return sum
}

// camera is acquire's newest status, with what the runs add up to.
type camera struct {
	bus.Status
	at  time.Time
	all totals

	ended   totals       // of runs that are over
	counted frames.RunID // the newest of them
	run     frames.RunID // the newest of which a status told, and what it told
	present totals
}

// next is what another status makes of the one before. A run that is not told of for a while counts on: an acquire that was
// started again has to find it first.
func (c camera) next(s bus.Status, at time.Time) camera {
	n := camera{Status: s, at: at, ended: c.ended, counted: c.counted, run: c.run, present: c.present}
	if !s.Run.IsZero() {
		n.run, n.present = s.Run, of(s)
	}
	if s.LastRun != nil && s.LastRun.Run != n.counted {
		n.ended, n.counted = n.ended.add(ofEnded(*s.LastRun)), s.LastRun.Run
	}
	if n.run == n.counted {
		n.present = totals{}
	}
	n.all = n.ended.add(n.present)
	return n
}

// worker is a member's newest status, with what its runs add up to.
type worker struct {
	bus.MemberStatus
	at  time.Time
	all work

	run     frames.RunID // the newest of which a status told, and what it told
	present work
}

// work is what a member has done.
type work struct{ frames, bytes, stored uint64 }

// next is what another status makes of the one before. Its numbers are of the present run: one that falls has begun anew.
func (w worker) next(s bus.MemberStatus, at time.Time) worker {
	n := worker{MemberStatus: s, at: at, run: w.run, present: w.present}
	before := w.present
	if !s.Run.IsZero() && s.Run != w.run {
		n.run, before = s.Run, work{}
	}
	n.present.frames, n.present.bytes = s.Frames, s.Bytes
	if s.Writer != nil {
		n.present.stored = s.Writer.StoredBytes
	}
	n.all = work{
		w.all.frames + grown(before.frames, n.present.frames), w.all.bytes + grown(before.bytes, n.present.bytes),
		w.all.stored + grown(before.stored, n.present.stored),
	}
	return n
}

func grown(from, to uint64) uint64 {
	if to < from {
		return to
	}
	return to - from
}

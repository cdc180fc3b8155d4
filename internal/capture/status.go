package capture

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
)

// statusPeriod is how often the status is published.
const statusPeriod = time.Second

// rates are measured between two published statuses.
type rates struct {
	at                time.Time
	captured, durable uint64
	measured          bool // rate is of a whole interval
	rate              bus.Rate
}

// looksPerSecond bounds how often a status is gathered for those who ask: it takes locks that the camera loop takes too.
const looksPerSecond = 100

// shown is the status as it was told last.
type shown struct {
	sync.Mutex
	limit   *rate.Limiter
	status  bus.Status
	changes uint64 // the controller's, when the status was gathered
}

// Status implements bus.Control. Whoever asks faster than a status is gathered is told what the one before was, unless
// the state has changed since.
func (c *Controller) Status(context.Context, bus.RunRequest) (bus.Status, error) {
	c.shown.Lock()
	defer c.shown.Unlock()
	if n := c.changes.Load(); n != c.shown.changes || c.shown.limit.Allow() {
		c.shown.status, c.shown.changes = c.status(false), n
	}
	return c.shown.status, nil
}

// publish publishes the status until ctx ends.
func (c *Controller) publish(ctx context.Context) {
	tick := time.NewTicker(statusPeriod)
	defer tick.Stop()
	alarms := newAlarms(c.cfg.Herald)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := c.status(true)
		alarms.look(s)
		if err := c.cfg.Publisher.Status(s.Run, &s); err != nil {
			c.cfg.Logger.Debug("status not published", "error", err)
		}
		if c.cfg.Told != nil {
			c.cfg.Told(s)
		}
	}
}

// status gathers the camera's account. measure begins a new interval for the rates.
func (c *Controller) status(measure bool) bus.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := bus.Status{
		State: c.state, Since: c.since, Reason: c.reason, Software: config.Software(), PID: os.Getpid(),
		Restarts: c.cfg.Restarts, Goroutines: runtime.NumGoroutine(), Refused: c.cfg.Refusals.Counts(),
		LastRun: c.last, Times: c.cfg.Dispatcher.Times(), Events: c.cfg.Herald.Counts(),
	}
	select {
	case <-c.looked:
	default:
		if st.State == bus.StateIdle { // nobody is to think that no run is there
			st.State, st.Reason = bus.StateArming, "looks for runs that were left"
		}
	}
	st.Camera = c.cfg.Camera
	a := c.cfg.Dispatcher.Account()
	s := c.session
	st.Members = c.members(s)
	if s == nil {
		c.rates = rates{}
		return st
	}
	st.Run = s.spec.Run
	st.Source, st.Geometry, st.Store, st.Frames = s.spec.Source, &s.spec.Geometry, a.StorePath, uint64(s.opts.Frames)
	st.Captured, st.Durable, st.InFlight, st.ReadableUntilSeq = a.Captured, a.Durable, a.InFlight, a.ReadableUntil
	if c.state == bus.StateArming { // the members have not taken the run up yet
		st.Captured = s.slab.Captured()
	}
	st.LostByReason = map[string]uint64{}
	for reason, n := range a.Lost {
		st.LostByReason[reason.String()] = n
		st.Lost += n
	}
	st.Analyzed, st.Skipped = a.Released["analyze"], a.Skipped
	st.Latency = c.cfg.Dispatcher.Latency()
	first, _, _, _ := s.slab.Last()
	st.Rate = c.rate(s, a, first, measure)
	g := s.budget.Gauge()
	holder := c.cfg.Dispatcher.Holder()
	st.Budget = bus.Budget{
		State: bus.BudgetState(g.State.String()), Bytes: g.Used, Limit: int64(s.slots * s.slab.Stride()), Peak: s.peak(),
		Holder: holder.Group, HolderMember: holder.Member, PausedSeconds: s.pausedTime().Seconds(), ThrottledSeconds: s.throttledTime().Seconds(),
	}
	if s.spare > 0 {
		st.Budget.Bytes += s.reserve.Gauge().Used
	}
	if grow := (st.Rate.Measured - st.Rate.Durable) * float64(s.slab.Stride()); grow > 0 && c.state == bus.StateRunning {
		left := float64(g.Limit-g.Used) / grow
		st.Budget.SecondsToFull = &left
	}
	return st
}

// leastInterval is the shortest time that says something about a rate.
const leastInterval = 100 * time.Millisecond

// rate is the frame rate over the last interval, or before there was one since the first frame, which came at firstNS (0:
// there was none). c.mu is held.
func (c *Controller) rate(s *session, a dispatch.Account, firstNS int64, measure bool) bus.Rate {
	r := &c.rates
	now := time.Now()
	if r.at.IsZero() {
		r.at, r.captured, r.durable = now, a.Captured, a.Durable
	}
	from := r.at
	if r.captured == 0 && firstNS > from.UnixNano() {
		from = time.Unix(0, firstNS)
	}
	if d := now.Sub(from); d >= leastInterval && (measure || !r.measured) {
		captured, durable := float64(a.Captured-min(r.captured, a.Captured)), float64(a.Durable-min(r.durable, a.Durable))
		r.rate = bus.Rate{
			Measured: captured / d.Seconds(), Durable: durable / d.Seconds(),
			BytesPerSecond: captured / d.Seconds() * float64(s.spec.Geometry.FrameBytes()),
		}
	}
	if measure {
		r.at, r.captured, r.durable, r.measured = now, a.Captured, a.Durable, a.Captured > 0
	}
	rate := r.rate
	rate.Nominal = s.spec.FPS
	return rate
}

// members describes everyone who has joined; s is the run that goes on, if there is one.
func (c *Controller) members(s *session) []bus.Member {
	list := c.cfg.Dispatcher.Members()
	var now int64
	if s != nil {
		now = s.clock.Now()
	}
	out := make([]bus.Member, 0, len(list))
	for _, m := range list {
		j, h := m.Peer.Join, m.Peer.Health
		state := bus.MemberLive
		switch {
		case m.Failed != "":
			state = bus.MemberFailed
		case m.Hung:
			state = bus.MemberHung
		case m.Leaving:
			state = bus.MemberLeaving
		}
		b := bus.Member{
			Name: m.Name, Group: m.Group, Policy: string(m.Policy), Host: j.Host, PID: j.PID, Carrier: cmp.Or(m.Carrier, link.SharedMemory), State: state, Primary: m.Primary,
			HeldBytes: m.HeldBytes, HeldFrames: uint64(m.HeldFrames), Skipped: h.Skipped, Redelivered: m.Redelivered, Restarts: m.Restarts,
			BufferBytes: max(0, m.BufferBytes),
			Work:        bus.Work{Frames: h.Frames, Bytes: h.Bytes, Busy: h.Busy, Starved: h.Starved, Blocked: h.Blocked},
		}
		if m.OldestNS > 0 {
			b.OldestUnreleasedNS = max(0, now-m.OldestNS)
		}
		if h.Path != "" {
			b.Writer = &bus.WriterStatus{
				Path: h.Path, FreeBytes: h.FreeBytes, StoredBytes: h.StoredBytes, SyncP50NS: h.SyncP50NS, SyncP99NS: h.SyncP99NS,
				DurableP50NS: h.DurableP50NS, DurableP99NS: h.DurableP99NS, Direct: h.Direct, Fallback: h.Fallback,
			}
		}
		out = append(out, b)
	}
	return out
}

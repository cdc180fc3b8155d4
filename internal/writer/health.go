package writer

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/occupancy"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// The histograms hold times from a microsecond to ten minutes to two digits.
	shortest = int64(time.Microsecond)
	longest  = int64(10 * time.Minute)
	digits   = 2
	// windows is how many intervals the percentiles are of.
	windows = 10
	// lookEvery is the length of an interval, a little less than the second at which heartbeats ask.
	lookEvery = 900 * time.Millisecond
)

// meter measures the writer's work. Its methods may be called concurrently.
type meter struct {
	watch *occupancy.Stopwatch

	mu      sync.Mutex // guards what follows
	disk    int        // how many calls into the store are under way
	cpu     int        // how many goroutines compute
	syncs   *hdrhistogram.WindowedHistogram
	durable *hdrhistogram.WindowedHistogram // from capture
	clock   clock.Run
	frames  uint64
	bytes   uint64
	// Of all runs.
	syncTimes, durableTimes run.Histogram
	lastSync                time.Time
	told                    link.Health // what was measured at the last look
	looked                  time.Time
}

func newMeter() *meter {
	m := &meter{watch: occupancy.New()}
	m.reset(clock.Run{})
	return m
}

// reset begins a run, whose frames are stamped with its clock.
func (m *meter) reset(c clock.Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs = hdrhistogram.NewWindowed(windows, shortest, longest, digits)
	m.durable = hdrhistogram.NewWindowed(windows, shortest, longest, digits)
	m.frames, m.bytes, m.clock = 0, 0, c
	m.told, m.looked = link.Health{}, time.Time{}
}

// enter and leave stand around a call into the store.
func (m *meter) enter() { m.change(1, 0) }
func (m *meter) leave() { m.change(-1, 0) }

// working is the store's hook.
func (m *meter) working(delta int) { m.change(0, delta) }

// change keeps the stopwatch at what the writer does: it computes, it waits for the disk, or it has nothing to do.
func (m *meter) change(disk, cpu int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk, m.cpu = m.disk+disk, m.cpu+cpu
	switch {
	case m.cpu > 0:
		m.watch.Switch(occupancy.Busy)
	case m.disk > 0:
		m.watch.Switch(occupancy.Blocked)
	default:
		m.watch.Switch(occupancy.Starved)
	}
}

// synced is the store's hook.
func (m *meter) synced(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record(m.syncs, d)
	m.syncTimes.Add(d)
	m.lastSync = time.Now()
}

// done counts frames that are durable.
func (m *meter) done(fs []link.Offered, frameBytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	for _, f := range fs {
		took := time.Duration(now - f.Offer.HostNS)
		record(m.durable, took)
		m.durableTimes.Add(took)
	}
	m.frames += uint64(len(fs))
	m.bytes += uint64(len(fs)) * uint64(frameBytes)
}

func record(h *hdrhistogram.WindowedHistogram, d time.Duration) {
	// The value is within the histogram's bounds, which is all that it could complain about.
	_ = h.Current.RecordValue(min(max(int64(d), shortest), longest))
}

// fill adds the counts of now, and the shares and percentiles of the last look, which is at least lookEvery old.
func (m *meter) fill(h *link.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.looked.IsZero() || now.Sub(m.looked) >= lookEvery {
		m.looked = now
		m.look()
	}
	*h = m.told
	h.Frames, h.Bytes = m.frames, m.bytes
}

// look measures and begins a new interval. The caller holds mu.
func (m *meter) look() {
	shares := m.watch.Shares()
	syncs, durable := m.syncs.Merge(), m.durable.Merge()
	m.told = link.Health{
		Busy: shares.Busy, Starved: shares.Starved, Blocked: shares.Blocked,
		SyncP50NS: syncs.ValueAtQuantile(50), SyncP99NS: syncs.ValueAtQuantile(99),
		DurableP50NS: durable.ValueAtQuantile(50), DurableP99NS: durable.ValueAtQuantile(99),
	}
	m.syncs.Rotate()
	m.durable.Rotate()
}

// times adds to a status what is of all runs.
func (m *meter) times(s *bus.MemberStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.SyncTimes, s.DurableTimes = m.syncTimes.Clone(), m.durableTimes.Clone()
	if at := m.lastSync; !at.IsZero() {
		at = at.UTC()
		s.LastSync = &at
	}
}

// watchSpace keeps how much room the disk has, until the run is given up. Who asks for the writer's health must not wait
// for the disk: one that does not answer would make the writer silent, which looks like a process that hangs.
func (r *activeRun) watchSpace(s *store.Store) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		if free, err := s.FreeBytes(); err == nil {
			r.mu.Lock()
			r.free = free
			r.mu.Unlock()
		}
	}
}

// Health is the writer's state. Anybody may ask at any time: the shares are of about the last second, the percentiles
// of about the last ten.
func (w *Writer) Health() link.Health {
	var h link.Health
	w.meter.fill(&h)
	r := w.current()
	if r == nil {
		return h
	}
	r.mu.Lock()
	s := r.store
	h.ReadableUntil = r.readable
	h.Direct, h.Fallback = r.direct, r.fallback
	h.FreeBytes = r.free
	r.mu.Unlock()
	if s == nil {
		return h
	}
	h.Path, h.StoredBytes = s.Path(), s.StoredBytes()
	return h
}

// Status adds to a member's status what only a writer has, and returns the run that it is of.
func (w *Writer) Status(h link.Health, s *bus.MemberStatus) frames.RunID {
	if h.Path != "" {
		s.Writer = &bus.WriterStatus{
			Path: h.Path, FreeBytes: h.FreeBytes, StoredBytes: h.StoredBytes, SyncP50NS: h.SyncP50NS, SyncP99NS: h.SyncP99NS,
			DurableP50NS: h.DurableP50NS, DurableP99NS: h.DurableP99NS, Direct: h.Direct, Fallback: h.Fallback,
		}
	}
	w.meter.times(s)
	id, _ := w.Claims()
	return id
}

package analysis

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
)

// ackTry is how long one attempt to have the final result stored may take.
const ackTry = 500 * time.Millisecond

// combiner merges the partial series of all members and publishes their spectrum. All methods may be called
// concurrently.
type combiner struct {
	clock      clock.Run
	spec       run.Spec
	rows, cols int
	cfg        Config
	log        *slog.Logger
	kick       chan struct{}
	settled    func() // called when the final result is out

	mu       sync.Mutex // guards what follows
	series   *spectrum.Series
	members  map[string]bool // by name whether it is done
	heard    time.Time       // when something came last
	ended    bool
	closed   bool
	captured uint64
	reach    uint64 // one more than the newest frame of the combiner's own member
	fresh    bool   // something came since the last result
	final    bool   // the final result is out, and nothing came since
	n        uint64
}

func newCombiner(cfg Config, spec run.Spec, c clock.Run, tiles *spectrum.Tiles, log *slog.Logger) (*combiner, error) {
	segment := cfg.Segment
	if segment == 0 {
		segment = spectrum.AutoSegment(spec.FPS, spec.Frames, tiles.Values(), cfg.SeriesBytes)
	}
	series, err := spectrum.NewSeries(spectrum.SeriesConfig{
		Values: tiles.Values(), SegmentFrames: segment, MaxBytes: cfg.SeriesBytes,
	})
	if err != nil {
		return nil, err
	}
	rows, cols := tiles.Grid()
	return &combiner{
		spec: spec, clock: c, rows: rows, cols: cols, cfg: cfg, log: log, kick: make(chan struct{}, 1),
		series: series, members: map[string]bool{}, heard: time.Now(),
	}, nil
}

// far is how many frames a batch of another member may be ahead of what the combiner's own member has seen: a frame from
// beyond would have the series forget all that it has.
const far = 1 << 20

// reject returns why a batch is not merged, and whether it may be later. c.mu is held.
func (c *combiner) reject(b Batch, own bool) (later bool, err error) {
	if b.Rows != c.rows || b.Cols != c.cols {
		return false, fmt.Errorf("%w: a grid of %d x %d tiles, the combiner's has %d x %d", ErrBatch, b.Rows, b.Cols, c.rows, c.cols)
	}
	end, known := c.reach+far, c.reach > 0
	if n := c.spec.Frames; n > 0 && n <= end {
		end, known = n, true
	}
	if c.ended {
		end, known = c.captured, true
	}
	for _, s := range b.Samples {
		if own || s.Seq < end {
			continue
		}
		return !known, fmt.Errorf("%w: frame %d, the run has come to %d", ErrBatch, s.Seq, c.reach)
	}
	return false, nil
}

// merge takes a batch, the combiner's own member's or another's, and returns the answer to it.
func (c *combiner) merge(b Batch, own bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch later, err := c.reject(b, own); {
	case err != nil && later:
		return append([]byte{answerNotHere}, err.Error()...)
	case err != nil:
		c.cfg.Refusals.Note(refusal.Batch, err)
		return append([]byte{answerRefused}, err.Error()...)
	}
	for _, s := range b.Samples {
		if own {
			c.reach = max(c.reach, s.Seq+1)
		}
		fresh, err := c.series.Add(s)
		if err != nil {
			return append([]byte{answerRefused}, err.Error()...)
		}
		if fresh {
			c.fresh, c.final = true, false
		}
	}
	const most = 256 // a camera has far fewer members
	if _, known := c.members[b.Member]; known || len(c.members) < most {
		c.members[b.Member] = b.Done
	}
	c.heard = time.Now()
	wake(c.kick)
	return []byte{answerMerged}
}

// end says that the run has that many frames.
func (c *combiner) end(captured uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended || captured != c.captured {
		c.ended, c.captured, c.final = true, captured, false
	}
	c.heard = time.Now()
	wake(c.kick)
}

// close has run return once the final result is out. A run that was closed without an end has the frames that
// were seen.
func (c *combiner) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if !c.ended {
		c.ended, c.captured = true, c.series.Coverage().End
	}
	wake(c.kick)
}

// run publishes a result in every interval in which something came, and the final one, until ctx ends or the
// final one is out after close.
func (c *combiner) run(ctx context.Context) {
	every := time.NewTicker(c.cfg.Every)
	defer every.Stop()
	quiet := time.NewTicker(max(c.cfg.Quiet/10, time.Millisecond))
	defer quiet.Stop()
	for {
		if due, over := c.state(); over {
			return
		} else if due {
			c.publishFinal(ctx)
			c.settled()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			c.publish()
		case <-quiet.C:
		case <-c.kick:
		}
	}
}

// state says whether the final result is due, and whether there is nothing left to do.
func (c *combiner) state() (due, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.series.Coverage().Seen
	if c.final || seen == 0 {
		return false, c.closed
	}
	if !c.ended {
		return false, false
	}
	due = seen >= c.captured || time.Since(c.heard) > c.cfg.Quiet || c.allDone()
	return due, false
}

// finished says whether there is no more result to come: the final one is out, or there is nothing to make one of.
func (c *combiner) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && (c.final || c.series.Coverage().Seen == 0)
}

// allDone says whether every member that was ever heard of is done. Called with the lock held.
func (c *combiner) allDone() bool {
	for _, done := range c.members {
		if !done {
			return false
		}
	}
	return true
}

// publish publishes the newest segments' spectrum if something came since the last one.
func (c *combiner) publish() {
	c.mu.Lock()
	if !c.fresh || c.ended {
		c.mu.Unlock()
		return
	}
	c.fresh = false
	coverage := c.series.Coverage()
	m := c.message(c.series.Recent(), coverage, coverage.End)
	c.mu.Unlock()
	line, err := c.cfg.Messenger.Encode(TypeTemporal, c.spec.Run, m)
	if err == nil {
		err = c.cfg.Messenger.Publish(bus.TemporalSubject(c.spec.Camera), nil, line)
	}
	if err != nil {
		c.log.Debug("a temporal spectrum is lost", "error", err)
	}
}

// publishFinal publishes the whole run's spectrum until somebody answers.
func (c *combiner) publishFinal(ctx context.Context) {
	c.mu.Lock()
	c.final = true
	m := c.message(c.series.Total(c.captured), c.series.Coverage(), c.captured)
	m.Final = true
	c.mu.Unlock()
	line, err := c.cfg.Messenger.Encode(TypeTemporal, c.spec.Run, m)
	if err != nil {
		c.log.Error("the final temporal spectrum is lost", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckWait)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, ackTry)
		_, err := c.cfg.Messenger.Request(try, bus.TemporalSubject(c.spec.Camera), line)
		if err == nil {
			stop()
			return
		}
		<-try.Done() // the rest of the attempt's time: nobody may be there yet
		stop()
		if ctx.Err() != nil {
			c.log.Warn("nobody has stored the final temporal spectrum", "error", err)
			return
		}
	}
}

// message makes a result. Called with the lock held.
func (c *combiner) message(t *spectrum.TemporalSpectrum, coverage spectrum.Coverage, captured uint64) *Temporal {
	c.n++
	m := newTemporal(t, c.rows, c.cols)
	m.N = c.n
	m.Coverage.Captured, m.Coverage.Seen, m.Coverage.Late = captured, coverage.Seen, coverage.Late
	m.LagNS = lag(c.clock, coverage.NewestHostNS)
	return m
}

// lag is the time since a frame's arrival, in nanoseconds.
func lag(c clock.Run, hostNS int64) int64 { return max(0, c.Now()-hostNS) }

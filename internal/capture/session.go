package capture

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// session is one run of a camera, from its arming to its summary.
type session struct {
	c       *Controller
	opts    config.Capture
	spec    run.Spec
	cam     camera.Camera // nil for a run that is only drained
	info    camera.Info
	slab    *slab.Slab
	budget  *backpressure.Budget
	reserve *backpressure.Budget
	onFull  backpressure.OnFull
	slots   int
	// resumed is set for a run of an earlier acquire, which had its newest frame at lastNS.
	resumed bool
	lastNS  int64
	clock   clock.Stamper
	before  before
	// foreseen is the forecast of a run that was armed here.
	foreseen *bus.Forecast
	spare    int     // slots of the reserve
	asked    *toggle // whether a user wants the run paused
	ctx      context.Context
	end      context.CancelCauseFunc // ends the capture; the cause is an ended
	quit     chan struct{}           // closed to give up what is not durable
	once     sync.Once

	next atomic.Uint64 // the seq of the next frame

	mu     sync.Mutex // guards what follows
	paused time.Duration
	since  time.Time // when the present pause began; zero where there is none
	// warnings are for the summary.
	warnings []string
}

// before is what earlier acquires of the run kept in its slab.
type before struct {
	throttled time.Duration
	peak      int64
}

// ended is the reason for the end of a capture, one of run's words.
type ended string

// Error makes an ended the cause of a context's end.
func (e ended) Error() string { return string(e) }

// newSession opens the camera and makes the slab. The run gets the id, or one of its own where that is zero.
func (c *Controller) newSession(ctx context.Context, opts config.Capture, id frames.RunID) (*session, error) {
	if opts.Source == "" {
		return nil, fmt.Errorf("%w: no source is named", camera.ErrSource)
	}
	cam, err := c.cfg.Open(ctx, opts.Source)
	if err != nil {
		return nil, err
	}
	s := &session{c: c, opts: opts, cam: cam, info: cam.Info(), asked: newToggle(), quit: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	if id.IsZero() {
		id = frames.NewRunID()
	}
	if err := s.prepare(id); err != nil {
		return nil, errors.Join(err, cam.Close())
	}
	s.number()
	return s, nil
}

// prepare sizes the run and allocates its memory.
func (s *session) prepare(id frames.RunID) error {
	c, opts, g := s.c, s.opts, s.info.Geometry
	if err := g.Validate(); err != nil {
		return fmt.Errorf("%w: %w", camera.ErrSource, err)
	}
	var err error
	if s.onFull, err = backpressure.ParseOnFull(string(opts.OnFull)); err != nil {
		return err
	}
	s.onFull = s.onFull.For(s.info.CanPause)
	if err := s.size(); err != nil {
		return err
	}
	now := time.Now().UTC()
	s.spec = run.Spec{
		Run: id, Camera: c.cfg.Camera, Geometry: g, FPS: s.info.FPS, Frames: uint64(opts.Frames),
		ShardFrames: uint64(opts.ShardFrames), Store: opts.Store, Codec: opts.Compress.Codec, Level: opts.Compress.Level,
		PixelSizeUM: float64(opts.PixelSize), Meta: opts.Meta, Device: s.info.Device, Source: camera.Redact(opts.Source),
		Software: config.Software(), Host: c.cfg.Host, Started: now,
	}
	if s.spec.ShardFrames == 0 {
		writers := 1
		for _, r := range opts.Require {
			if r.Group == "writer" {
				writers = r.Members
			}
		}
		s.spec.ShardFrames = store.DefaultShardFrames(g.FrameBytes(), int64(s.slots*slab.Stride(g.FrameBytes())), writers)
	}
	if s.spec.Store == "" {
		s.spec.Store = fmt.Sprintf("%s_%s_%s.ome.zarr", c.cfg.Camera, now.Format("20060102T150405Z"), id.Short())
	}
	if s.spec.Config, err = config.Effective(&opts); err != nil {
		return err
	}
	s.spec.Config["source"] = s.spec.Source // without passwords of any kind
	if s.slab, err = slab.Create(slab.Config{Dir: c.cfg.ShmDir, Spec: s.spec, Slots: s.slots}); err != nil {
		return err
	}
	s.slab.SetPhase(slab.Armed)
	if err := s.account(); err != nil {
		return errors.Join(err, s.slab.Remove(), s.slab.Close())
	}
	return nil
}

// number has the run's events numbered, over restarts of acquire.
func (s *session) number() {
	s.c.cfg.Herald.Begin(s.spec.Run, func() uint64 { return uint64(s.slab.AddTally(slab.Events, 1)) })
}

// size fixes the number of slots.
func (s *session) size() error {
	stride := int64(slab.Stride(s.info.Geometry.FrameBytes()))
	free, err := config.FreeMemory()
	if err != nil {
		return err
	}
	budget := int64(s.opts.Budget)
	if budget == 0 {
		budget = int64(config.DefaultBudget(stride, s.info.FPS, free))
	}
	s.spare = reserve(s.opts)
	s.slots = int(min(budget/stride, slab.MaxSlots))
	if least := 2 + s.spare; s.slots < least {
		return fmt.Errorf("%w: %s holds %d frames of %s, which take %s each; want at least %s: two frames and a reserve of %d for analysis",
			ErrBudget, config.ByteSize(budget), s.slots, s.info.Geometry, config.ByteSize(stride), config.ByteSize(int64(least)*stride), s.spare)
	}
	if budget > free {
		return fmt.Errorf("%w: %s is more than the %s of memory that is free", ErrBudget, config.ByteSize(budget), config.ByteSize(free>>20<<20))
	}
	return nil
}

// reserve is the number of slots for the latest groups: the newest frame's, and one for each analyser's hands.
func reserve(opts config.Capture) int {
	if opts.AnalyzePolicy == "lossless" {
		return 0
	}
	if opts.Reserve > 0 {
		return max(int(opts.Reserve), 2)
	}
	n := 1
	for _, r := range opts.Require {
		if r.Group == "analyze" {
			n = r.Members
		}
	}
	return 1 + n
}

// account makes the budgets that count the slab's slots, and takes up what earlier acquires counted.
func (s *session) account() error {
	s.clock = s.slab.Clock().Stamper()
	s.paused = time.Duration(s.slab.Tally(slab.PausedNS))
	s.before = before{throttled: time.Duration(s.slab.Tally(slab.ThrottledNS)), peak: s.slab.Tally(slab.PeakBytes)}
	s.warnings = s.slab.Warnings()
	stride := int64(s.slab.Stride())
	var err error
	s.budget, err = backpressure.NewBudget(backpressure.Config{
		Limit: int64(s.slots-s.spare) * stride, OnChange: s.transition,
	})
	if err != nil {
		return err
	}
	// A lossless analysis has no reserve; a budget cannot be empty, and nobody asks this one.
	s.reserve, err = backpressure.NewBudget(backpressure.Config{Limit: int64(max(s.spare, 1)) * stride})
	return err
}

// offer has the members agree to the run.
func (s *session) offer(ctx context.Context) error {
	var need uint64
	if n := s.expected(); !s.opts.Force && n > 0 {
		need = n * uint64(s.info.Geometry.FrameBytes())
	}
	return s.c.cfg.Dispatcher.Arm(ctx, dispatch.RunConfig{Slab: s.slab, Budget: s.budget, Reserve: s.reserve, NeedBytes: need})
}

// expected is how many frames the run will have, 0 where nobody knows.
func (s *session) expected() uint64 {
	n := uint64(s.opts.Frames)
	if s.opts.Duration > 0 && s.info.FPS > 0 {
		n = uint64(s.opts.Duration.Seconds() * s.info.FPS)
	}
	if s.info.Frames > 0 && (n == 0 || s.info.Frames < n) {
		n = s.info.Frames
	}
	return n
}

// armed describes the run as it will be.
func (s *session) armed() bus.Armed {
	a := bus.Armed{
		Spec: s.spec, Store: s.c.cfg.Dispatcher.Account().StorePath, BudgetBytes: int64(s.slots * s.slab.Stride()), Slots: s.slots,
		SlotBytes: int64(s.slab.Stride()), Reserve: s.spare, OnFull: config.OnFull(s.onFull.String()), Warnings: s.warned(),
		Forecast: s.foreseen,
	}
	for _, m := range s.c.cfg.Dispatcher.Members() {
		if m.Ready {
			a.Members = append(a.Members, m.Name)
		}
	}
	return a
}

// discard undoes an arming.
func (s *session) discard() {
	s.c.cfg.Dispatcher.CloseRun()
	s.c.cfg.Herald.End(s.spec.Run)
	s.end(nil)
	if err := errors.Join(s.closeCamera(), s.slab.Remove(), s.slab.Close()); err != nil {
		s.c.cfg.Logger.Warn("undo the arming", "error", err)
	}
}

// closeCamera closes the camera, if the session has one.
func (s *session) closeCamera() error {
	if s.cam == nil {
		return nil
	}
	if err := s.cam.Close(); err != nil {
		return fmt.Errorf("close the camera: %w", err)
	}
	return nil
}

// stop ends the capture; the drain follows. The first reason counts.
func (s *session) stop(why string) { s.end(ended(why)) }

// giveUp ends the drain: what is not durable goes to the ledger.
func (s *session) giveUp() {
	s.stop(run.EndedHard)
	s.once.Do(func() { close(s.quit) })
}

// transition is the budget's: it publishes what changed and what will be done about it.
func (s *session) transition(t backpressure.Transition) {
	b := bus.Backpressure{
		N: uint64(s.slab.AddTally(slab.Transitions, 1)), From: bus.BudgetState(t.From.String()), To: bus.BudgetState(t.To.String()),
		Bytes: t.Used, Limit: t.Limit, Seq: s.next.Load(),
	}
	switch t.To {
	case backpressure.Full:
		b.Action = s.onFull.String()
	case backpressure.Open:
		if t.From == backpressure.Full && s.onFull == backpressure.Pause {
			b.Action = "resume"
		}
	}
	s.c.cfg.Herald.Backpressure(s.spec.Run, b, s.c.cfg.Dispatcher.Holder)
}

// storeName is the store's name for people.
func (s *session) storeName() string {
	if p := s.c.cfg.Dispatcher.Account().StorePath; p != "" {
		return p
	}
	return filepath.Join("…", strings.TrimSpace(s.spec.Store))
}

package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// resumeSession makes the session of a run that a killed acquire left. capturing has it open the camera again; where
// that can't be had the run is drained.
func (c *Controller) resumeSession(ctx context.Context, sl *slab.Slab, capturing bool) (*session, error) {
	opts, err := optionsOf(sl.Spec(), c.cfg.Defaults)
	if err != nil {
		return nil, err
	}
	s := &session{c: c, opts: opts, spec: sl.Spec(), slab: sl, slots: sl.Slots(), resumed: sl.Captured() > 0, asked: newToggle(), quit: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.info.Geometry = s.spec.Geometry
	s.next.Store(sl.Captured())
	_, s.lastNS, _, _ = sl.Last()
	held := 0
	sl.Held(func(int, slab.Record) { held++ })
	s.spare = min(reserve(s.opts), sl.Slots()-held)
	if err := s.account(); err != nil {
		return nil, err
	}
	if capturing && (s.spec.Frames == 0 || sl.Captured() < s.spec.Frames) {
		if err := s.reopen(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			s.warn("the camera cannot be had again: " + err.Error())
		}
	}
	return s, nil
}

// optionsOf are the options that a run was armed with. Only the passwords in its source are not in its description:
// they are those of the process's own source, if that is the same.
func optionsOf(spec run.Spec, own config.Capture) (config.Capture, error) {
	values := map[string]string{}
	for flag, v := range spec.Config {
		values[config.EnvName(flag)] = fmt.Sprint(v)
	}
	if camera.Redact(own.Source) == spec.Source {
		values[config.EnvName("source")] = own.Source
	}
	var cli struct{ config.Capture }
	_, err := config.Parse(config.Program{
		Name: "acquire", CLI: &cli, Stdout: io.Discard, Getenv: func(name string) string { return values[name] },
	})
	if err != nil {
		return cli.Capture, fmt.Errorf("read the run's options: %w", err)
	}
	return cli.Capture, nil
}

// reopen opens the camera of a run that an earlier acquire began.
func (s *session) reopen(ctx context.Context) error {
	policy, err := backpressure.ParseOnFull(string(s.opts.OnFull))
	if err != nil {
		return err
	}
	cam, err := s.c.cfg.Open(ctx, s.opts.Source)
	if err != nil {
		return err
	}
	info := cam.Info()
	if info.Geometry != s.spec.Geometry {
		err := fmt.Errorf("%w: %s gives frames of %s, the run has %s", camera.ErrSource, s.spec.Source, info.Geometry, s.spec.Geometry)
		return errors.Join(err, cam.Close())
	}
	s.cam, s.info, s.onFull = cam, info, policy.For(info.CanPause)
	return nil
}

// reoffer has the members take the run up again.
func (s *session) reoffer(ctx context.Context) error {
	joined := func() (names []string) {
		for _, m := range s.c.cfg.Dispatcher.Members() {
			names = append(names, m.Name)
		}
		return names
	}
	// What they hold goes to others where they come too late to claim it.
	if err := awaitMembers(ctx, 2*s.c.cfg.Heartbeat+500*time.Millisecond, s.c.cfg.Present, joined); err != nil {
		return fmt.Errorf("wait for the members: %w", err)
	}
	return s.c.cfg.Dispatcher.Arm(ctx, dispatch.RunConfig{Slab: s.slab, Budget: s.budget, Reserve: s.reserve, Resumed: true})
}

// goOn prepares the camera to go on where the run is. What it made while there was no acquire is lost with a
// free-running camera, and was never made with one that only produces when it is asked. A run without frames begins.
func (s *session) goOn() error {
	if s.cam == nil || !s.resumed {
		return nil
	}
	_, _, frameID, _ := s.slab.Last()
	away, seq, missed := time.Duration(s.clock.Now()-s.lastNS), s.slab.Captured(), uint64(0)
	if !s.info.CanPause {
		missed = max(1, uint64(away.Seconds()*s.info.FPS))
		if n := uint64(s.opts.Frames); n > 0 {
			missed = min(missed, n-min(n, seq))
		}
	}
	if sk, ok := s.cam.(camera.Seeker); ok {
		if err := sk.Seek(seq + missed); err != nil {
			return fmt.Errorf("go on at frame %d: %w", seq+missed, err)
		}
		s.info.IDFromStart = false
	}
	text := fmt.Sprintf("acquire was away for %s; the run goes on at frame %d", away.Round(time.Millisecond), seq+missed)
	s.warn(text)
	s.c.cfg.Herald.Event(s.spec.Run, bus.Event{Kind: bus.EventResumed, Text: text, Seq: seq + missed, PausedNS: away.Nanoseconds()})
	if missed > 0 {
		if err := s.lose(seq, missed, frameID+1, frames.Restarted, frames.AtAcquire); err != nil {
			return err
		}
		s.next.Store(seq + missed)
	}
	return nil
}

// warn adds a line to the summary's warnings, and logs it.
func (s *session) warn(text string) {
	s.warning(text)
	s.c.cfg.Logger.Warn(text, "run", s.spec.Run.Short())
}

package soak_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// trouble is who comes and goes while the run goes on.
type trouble struct {
	run  *programs.Local
	seen *sampler
	unit time.Duration // of each part of it
}

// start makes trouble until ctx ends, and then sets everybody going again.
func (t trouble) start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{t.analyser, t.guests, t.monitor} {
		g.Go(func() error {
			if err := f(ctx); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// analyser makes analyze-2 a bad consumer in each way in turn: stopped, with a tenth of its time, killed, and well.
func (t trouble) analyser(ctx context.Context) error {
	const victim = "analyze-2"
	for ctx.Err() == nil {
		pid := t.seen.pid(victim)
		if err := signal(t.run.Camera, pid, syscall.SIGSTOP); err != nil {
			if pause(ctx, t.unit/10) { // it is on its way back
				continue
			}
			return nil
		}
		pause(ctx, t.unit)
		err := tenth(ctx, t.run.Camera, pid, t.unit)
		if err == nil && ctx.Err() == nil {
			err = signal(t.run.Camera, pid, syscall.SIGKILL)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", victim, err)
		}
		pause(ctx, t.unit)
	}
	return nil
}

// tenth gives a stopped process a tenth of its time for a while, and then all of it.
func tenth(ctx context.Context, camera string, pid int, d time.Duration) error {
	const slice = 20 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		if err := signal(camera, pid, syscall.SIGCONT); err != nil {
			return err
		}
		pause(ctx, slice)
		if err := signal(camera, pid, syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, 9*slice)
	}
	return signal(camera, pid, syscall.SIGCONT)
}

// guests is a third writer that joins, stops with frames in hand until the budget is throttled, every fourth time until
// it is full, works them off, and leaves: asked to, or killed. It needs a store that every writer's folder has.
func (t trouble) guests(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		if err := t.guest(ctx, n); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the guest's visit %d: %w", n, err)
		}
		pause(ctx, t.unit)
	}
	return nil
}

func (t trouble) guest(ctx context.Context, n int) error {
	const name = "guest"
	life, leave := context.WithCancel(context.WithoutCancel(ctx))
	w, err := t.launch(life, "writer", "--name", name, "--out", t.run.Out)
	if err != nil {
		leave()
		return err
	}
	defer func() {
		leave()      // asks it, and kills it where it does not go within seconds
		_ = w.Wait() // how it ends is the trouble's affair
	}()
	if _, err := t.run.Await(ctx, func(st bus.Status) bool { return programs.Member(st, name).HeldFrames > 0 }); err != nil {
		return err
	}
	goal := bus.BudgetThrottled
	if n%4 == 3 {
		goal = bus.BudgetFull
	}
	before := t.seen.transitions(goal)
	if err := w.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// A guest that was stopped at the end of its shard does not get far: the others go on without it.
	limit, cancel := context.WithTimeout(ctx, 3*t.unit)
	defer cancel()
	if err := t.run.Until(limit, func() bool { return t.seen.transitions(goal) > before }); err != nil && limit.Err() == nil {
		return err
	}
	if err := w.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if _, err := t.run.Await(ctx, func(st bus.Status) bool { return st.Budget.State == bus.BudgetOpen }); err != nil {
		return err
	}
	pause(ctx, t.unit/2)
	if n%2 == 1 {
		return w.Process.Kill()
	}
	// Asked once it would stay for the rest of the run.
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	pause(ctx, t.unit/10)
	return nil
}

// monitor has somebody watch the run, for a while each time.
func (t trouble) monitor(ctx context.Context) error {
	for ctx.Err() == nil {
		m, err := t.launch(context.WithoutCancel(ctx), "sluice", "monitor", "--json", t.run.Camera)
		if err != nil {
			return err
		}
		pause(ctx, 2*t.unit)
		if err := m.Process.Signal(syscall.SIGINT); err != nil {
			return fmt.Errorf("the monitor has ended: %w", errors.Join(err, m.Wait()))
		}
		if err := m.Wait(); err != nil {
			return fmt.Errorf("the monitor: %w", err)
		}
		pause(ctx, t.unit/2)
	}
	return nil
}

// launch starts a program on the run's broker, without its output.
func (t trouble) launch(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	if name == "writer" {
		args = append(args, "--camera", t.run.Camera)
	}
	cmd := bin.Command(ctx, name, args...)
	cmd.Env = append(cmd.Env, "SLUICE_NATS="+t.run.BrokerURL())
	return cmd, cmd.Start()
}

// pause waits; false says that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/supervise"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// askEvery is how often acquire is asked whether it is there.
const askEvery = 50 * time.Millisecond

// The groups that members of a run are in.
const (
	groupWriter  = "writer"
	groupAnalyze = "analyze"
)

// crew are the children of a run.
type crew struct {
	run    *runCmd
	p      *process
	screen monitor.Screen
	hold   *hold
	group  *supervise.Group
	meter  *meter
	log    *slog.Logger

	server  *supervise.Child // the broker, nil where it is somebody else's
	acquire *supervise.Child
	members []*supervise.Child

	// lost is closed when a child is over without being asked, err then says which and why.
	lost     chan struct{}
	lostOnce sync.Once
	err      error
	wg       sync.WaitGroup
}

func newCrew(r *runCmd, p *process, screen monitor.Screen) (*crew, error) {
	g, err := supervise.NewGroup()
	if err != nil {
		return nil, err
	}
	c := &crew{run: r, p: p, screen: screen, hold: &hold{screen: screen}, group: g, meter: newMeter(), lost: make(chan struct{})}
	c.log = c.common().Logger(c.voice("run", ""), "run")
	return c, nil
}

// voice puts a process's log lines on the screen: readable, unless the user asked for JSON. last is how its last
// words begin.
func (c *crew) voice(process, last string) sayer {
	return sayer{to: c.hold, process: process, last: last, raw: c.p.LogFormat == "json"}
}

// broker starts the run's own broker and says how to reach it, or passes on what the user gave.
func (c *crew) broker(ctx context.Context) (config.NATS, error) {
	n := c.run.NATS
	if n.NATS != "" || n.NATSFile != "" {
		return n, nil
	}
	dir, err := broker.Dir(c.p.getenv)
	if err != nil {
		return n, err
	}
	self, err := os.Executable()
	if err != nil {
		return n, fmt.Errorf("starting the broker: %w", err)
	}
	place, session := broker.At(dir, string(c.run.Camera.Camera)), rand.Text()
	c.server, err = c.launch("broker", self, []string{"broker"}, &struct {
		config.Common
		brokerCmd
	}{Common: c.common(), brokerCmd: brokerCmd{Camera: c.run.Camera, Session: session}})
	if err != nil {
		return n, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, exit.Errorf(exit.Unavailable, "it is not ready after %s", readyTime))
	defer cancel()
	ctx, stop := c.watch(ctx)
	defer stop()
	if _, err := place.Await(ctx, session); err != nil {
		return n, err
	}
	n.NATSFile = place.File()
	return n, nil
}

// start starts writers, analysers and acquire.
func (c *crew) start(n config.NATS) error {
	r := c.run
	for i := range r.Writers {
		name := fmt.Sprintf("writer-%d", i+1)
		if err := c.member(name, "writer", &config.Writer{
			Common: c.common(), NATS: n, Camera: r.Camera, Link: r.Link, Member: config.LocalMember(name), Out: r.Out,
		}); err != nil {
			return err
		}
	}
	for i := range r.Analyzers {
		name := fmt.Sprintf("analyze-%d", i+1)
		if err := c.member(name, "analyze", &config.Analyze{
			Common: c.common(), NATS: n, Camera: r.Camera, Link: r.Link, Member: config.LocalMember(name),
			Analysis: r.Analysis,
		}); err != nil {
			return err
		}
	}
	capture := r.Capture
	capture.Require = []config.Requirement{{Group: groupWriter, Members: r.Writers}}
	if r.Analyzers > 0 {
		capture.Require = append(capture.Require, config.Requirement{Group: groupAnalyze, Members: r.Analyzers})
	}
	path, err := supervise.Sibling("acquire")
	if err != nil {
		return err
	}
	c.acquire, err = c.launch("acquire", path, []string{"--camera=" + string(r.Camera.Camera)}, &config.Acquire{
		Common: c.common(), NATS: n, Camera: r.Camera, Link: r.Link, Capture: capture,
		Streams: config.LocalStreams(r.HungAfter),
	})
	return err
}

// common are the children's common options: of their log lines only warnings are of interest, unless the user
// asked for a level. They come as JSON, to be made readable here.
func (c *crew) common() config.Common {
	common := c.p.Common
	if common.LogLevel == "info" {
		common.LogLevel = "warn"
	}
	common.LogFormat = "json"
	return common
}

// member starts a writer or an analyser.
func (c *crew) member(name, program string, options any) error {
	path, err := supervise.Sibling(program)
	if err != nil {
		return err
	}
	child, err := c.launch(name, path, []string{"--camera=" + string(c.run.Camera.Camera), "--name=" + name}, options)
	if err != nil {
		return err
	}
	c.members = append(c.members, child)
	return nil
}

// launch starts a child with options in its environment, where no other user sees them.
func (c *crew) launch(name, path string, args []string, options any) (*supervise.Child, error) {
	env, err := config.Env(options)
	if err != nil {
		return nil, err
	}
	child, err := c.group.Start(supervise.Spec{
		Name: name, Path: path, Args: args, Env: append(config.WithoutOptions(os.Environ()), env...),
		Lines: c.voice(name, filepath.Base(path)+": ").say,
		Died:  func(err error) { c.log.Warn(name+" died, starting it again", "error", err) },
	})
	if err != nil {
		return nil, err
	}
	c.wg.Go(func() {
		<-child.Done()
		if err := child.Err(); err != nil && !errors.Is(err, supervise.ErrKilled) {
			c.lostOnce.Do(func() {
				c.err = lostChild(child)
				close(c.lost)
			})
		}
	})
	return child, nil
}

// lostChild is what the end of a child for good means. The child is over.
func lostChild(c *supervise.Child) error { return lostError(c.Name(), c.Program(), c.Err()) }

// lostError is what a child's end means for the run: its own error where it is the user's to mend, else that
// something that the run needs is gone.
func lostError(name, program string, err error) error {
	if exit.Code(err) != exit.Usage {
		return exit.Errorf(exit.Unavailable, "%s is lost: %w", name, err)
	}
	if _, text, ok := strings.Cut(err.Error(), ": "+program+": "); ok {
		return exit.Errorf(exit.Usage, "%s", text)
	}
	return err
}

// watch returns a context that ends with ctx, or with the error of a child that is lost.
func (c *crew) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-c.lost:
			cancel(c.err)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
	}
}

// ready waits until acquire answers, and then for as long as it takes until it has written what a killed run left
// in shared memory. It returns too when acquire is there with the run own; the status says how.
func (c *crew) ready(ctx context.Context, client *bus.Client, own frames.RunID) (bus.Status, error) {
	late := time.NewTimer(c.run.ConnectTimeout + readyTime)
	defer late.Stop()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	told := false
	for {
		asking, cancel := context.WithTimeout(ctx, pollTime)
		s, err := client.Status(asking, bus.RunRequest{})
		cancel()
		switch {
		case err == nil && (s.State == bus.StateIdle || s.State == bus.StateFault || begun(s, own) || waits(s, own)):
			return s, nil
		case err == nil:
			late.Reset(c.run.DrainTimeout + readyTime)
			if !told && !s.Run.IsZero() && s.Run != own {
				told = true
				c.screen.Say(fmt.Sprintf("run %s was left unfinished: its frames are written first", s.Run.Short()))
			}
			if !s.Run.IsZero() { // else it has just begun: there is nothing to see
				c.screen.Show(s)
			}
		}
		select {
		case <-ticker.C:
		case <-late.C:
			return s, exit.Errorf(exit.Unavailable, "acquire does not answer")
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
}

// begun reports whether a run has been started: acquire works on it, or has ended it.
func begun(s bus.Status, run frames.RunID) bool {
	switch {
	case run.IsZero():
		return false
	case s.Run == run:
		return s.State == bus.StateRunning || s.State == bus.StatePaused || s.State == bus.StateDraining
	}
	return s.LastRun != nil && s.LastRun.Run == run
}

// waits reports whether a run is armed.
func waits(s bus.Status, run frames.RunID) bool {
	return !run.IsZero() && s.Run == run && s.State == bus.StateWaiting
}

// inOneLife does what needs one and the same acquire from its beginning to its end, and does it again when acquire died
// meanwhile: nobody answers a request whose acquire is gone. It ends with ctx, or when a child is lost.
func (c *crew) inOneLife(ctx context.Context, do func(context.Context) error) error {
	ctx, stop := c.watch(ctx)
	defer stop()
	for {
		life := c.acquire.Restarts()
		err := c.whileIn(ctx, life, do)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.acquire.Restarts() == life && !errors.Is(err, bus.ErrNoAnswer):
			return err
		}
		c.hold.release() // a death explains what the next attempt may run into
		c.log.Debug("acquire is asked again", "error", err)
	}
}

// whileIn does something with a context that ends when acquire's life does.
func (c *crew) whileIn(ctx context.Context, life int, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(askEvery)
		defer ticker.Stop()
		for c.acquire.Restarts() == life {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	defer wg.Wait()
	defer cancel()
	return do(ctx)
}

// bereft names the group that the run cannot do without and that has nobody left, empty where there is none: the
// writers, and analysers that were promised every frame.
func (c *crew) bereft() string {
	writers := min(c.run.Writers, len(c.members))
	alive := func(m *supervise.Child) bool { return !closed(m.Done()) }
	switch {
	case !slices.ContainsFunc(c.members[:writers], alive):
		return groupWriter
	case c.run.AnalyzePolicy == "lossless" && writers < len(c.members) && !slices.ContainsFunc(c.members[writers:], alive):
		return groupAnalyze
	}
	return ""
}

// restarts is how often children were started again.
func (c *crew) restarts() int {
	n := 0
	for _, child := range append([]*supervise.Child{c.server, c.acquire}, c.members...) {
		if child != nil {
			n += child.Restarts()
		}
	}
	return n
}

// dismiss stops the children: acquire, then the members, then the broker. After a run that ended they have
// nothing left to do; without one they may take the time of a drain. A second interrupt ends all waiting.
func (c *crew) dismiss(ctx context.Context, hard <-chan struct{}, summary *runpkg.Summary) error {
	patience := c.run.DrainTimeout + stopTime
	if summary != nil {
		patience = stopTime
	}
	ending, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-hard:
			timer := time.AfterFunc(hardTime, cancel)
			<-done
			timer.Stop()
		case <-done:
		}
	})
	var err error
	if closed(hard) {
		// They may wait for each other, and the user doesn't. Killing is what was asked for.
		_ = c.stopAll(ending, stopTime, append(c.members, c.acquire)...)
	} else {
		err = errors.Join(c.stopAll(ending, patience, c.acquire), c.stopAll(ending, membersTime, c.members...))
	}
	close(done)
	watching.Wait()
	err = errors.Join(err, c.stopAll(ctx, hardTime, c.server))
	c.wg.Wait()
	if err := errors.Join(err, c.group.Close()); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

// closed reports whether a channel is closed.
func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// stopAll stops children at the same time, each within the limit. Only one that had to be killed is an error; what else a child ended of
// is told.
func (c *crew) stopAll(ctx context.Context, limit time.Duration, children ...*supervise.Child) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	errs := make([]error, len(children))
	var wg sync.WaitGroup
	for i, child := range children {
		if child == nil || closed(child.Done()) {
			continue
		}
		wg.Go(func() {
			switch err := child.Stop(ctx); {
			case errors.Is(err, supervise.ErrKilled):
				errs[i] = err
			case err != nil:
				c.log.Warn(child.Name()+" did not end well", "error", err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

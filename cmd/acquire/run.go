package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/source"
	"github.com/sluicedaq/sluice/internal/capture"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/metrics"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/speed"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// shmDir is the memory file system that slabs lie in.
const shmDir = "/dev/shm"

// run wires acquire:
//
//	control service ──▶ capture.Controller ──▶ camera ──▶ slab
//	                        │      │ offers                 ▲ read-only
//	                        │      ▼                        │
//	      status, events ◀──┘   dispatch.Dispatcher ──▶ link ──▶ members
//
// It ends when ctx does or the supervisor dies, after the drain of the run that goes on; hard, when closed, cuts the
// drain short.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Acquire
	if _, err := config.Parse(config.Program{
		Name: "acquire", Description: "Captures one camera's frames into shared memory and offers them to writers and analysers.",
		CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	logger := opts.Logger(stderr, "acquire")
	if opts.Source != "" {
		if err := source.Check(opts.Source); err != nil {
			return &exit.Error{Code: exit.Usage, Err: err}
		}
	}
	ctx, unwatch, err := supervise.WatchParent(ctx, getenv)
	if err != nil {
		return err
	}
	defer unwatch()
	board := metrics.NewBoard(string(opts.Camera.Camera), true)
	numbers, err := metrics.Start(ctx, opts.Metrics.Metrics, board, logger)
	if err != nil {
		return err
	}
	defer numbers.Close()
	book := refusal.New(logger)
	nc, err := bus.Connect(ctx, bus.Options{NATS: opts.NATS, Role: "acquire", Process: "acquire", Log: logger, Refusals: book})
	if err != nil {
		return err
	}
	defer nc.Close()
	board.Watch(func() string { return bus.Ails(nc) })
	return serve(ctx, hard, opts, nc, speed.Path(getenv), board, book, logger)
}

func serve(ctx context.Context, hard <-chan struct{}, opts config.Acquire, nc *nats.Conn, speeds string, board *metrics.Board, book *refusal.Book, logger *slog.Logger) error {
	name := string(opts.Camera.Camera)
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	alone, err := sole(ctx, bus.NewClient(nc, name), name)
	if err != nil {
		return err
	}
	defer alone.Close()
	groups := groups(opts)
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	transport := link.NATS(nc)
	listener, err := link.Listen(link.ListenerConfig{
		Transport: transport, Base: "sluice." + name, Timing: link.Timing{Heartbeat: opts.Heartbeat}, Groups: names,
		Alive: shm.Alive(shmDir, name), Lost: lost(opts), Refusals: book, Logger: logger,
	})
	if err != nil {
		return err
	}
	listener, forget, err := distant(opts, listener, book, logger)
	if err != nil {
		return err
	}
	defer forget()
	publisher := bus.NewPublisher(nc, name, "acquire")
	herald := capture.NewHerald(publisher, logger)
	dispatcher, err := dispatch.New(dispatch.Config{
		Listener: listener, Groups: groups, Connected: transport.Connected, JoinTimeout: opts.MemberTimeout, Hung: opts.HungAfter,
		Reclaim: opts.ReclaimAfter, Note: herald.Note, Refusals: book, Logger: logger,
	})
	if err != nil {
		return err
	}
	herald.LogTo(dispatcher.Event)
	steps := &progress{every: opts.Progress, log: logger}
	controller := capture.New(capture.Config{
		Camera: name, Defaults: opts.Capture, ShmDir: shmDir, Dispatcher: dispatcher, Publisher: publisher, Herald: herald,
		Open: func(ctx context.Context, uri string) (camera.Camera, error) {
			return source.Open(ctx, uri, source.Options{})
		},
		Logger: logger, Restarts: opts.Restarts, Heartbeat: opts.Heartbeat, Continue: opts.Restarts > 0 || opts.Start, Host: host,
		Present: func() []string { return shm.Present(shmDir, name) }, Refusals: book,
		Speeds: speed.Open(speeds, host), Told: func(s bus.Status) {
			board.Camera(s)
			steps.told(s, time.Now())
		},
	})

	// What serves the run outlives the wish to stop, until the run has drained.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return dispatcher.Serve(serving) })
	g.Go(func() error { herald.Run(serving); return nil })
	service, err := bus.ServeControl(serving, nc, publisher, controller, book)
	if err != nil {
		stop()
		return exit.Errorf(exit.Unavailable, "offer the control service: %w", errors.Join(err, g.Wait()))
	}
	g.Go(func() error {
		defer stop()
		defer service.Close()
		return operate(ctx, serving, hard, opts, controller)
	})
	err = g.Wait()
	if nc.IsConnected() {
		// The last messages get a moment to leave; a broker that goes first is no failure of ours.
		if e := nc.FlushTimeout(2 * time.Second); e != nil {
			logger.Debug("the last messages may be lost", "error", e)
		}
	}
	return err
}

// operate runs the controller until ctx or serving ends, or with --start until its one run has ended.
func operate(ctx, serving context.Context, hard <-chan struct{}, opts config.Acquire, c *capture.Controller) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(serving, cancel)()
	g := new(errgroup.Group)
	g.Go(func() error { return c.Run(ctx, hard) })
	if opts.Start {
		g.Go(func() error {
			defer cancel()
			goesOn, err := c.Resumed(ctx) // a run from before this process is the one run then
			if err == nil && !goesOn {
				_, err = c.Start(ctx, bus.RunRequest{})
			}
			if err != nil {
				return err
			}
			summary, err := c.Wait(context.WithoutCancel(ctx))
			if err != nil {
				return &exit.Error{Code: exit.Damaged, Err: err}
			}
			if code := bus.ExitCode(*summary); code != exit.OK {
				return exit.Errorf(code, "run %s ended by %s: %d of %d frames written, %d lost", summary.Run.Short(), summary.EndedBy, summary.Written, summary.Captured, summary.Lost)
			}
			return nil
		})
	}
	return g.Wait()
}

// groups are the consumers of a camera's frames. Their order fixes their bits in the slab.
func groups(opts config.Acquire) []dispatch.Group {
	list := []dispatch.Group{
		{Name: "writer", Policy: link.Lossless, Sharded: true},
		{Name: "analyze", Policy: link.Policy(opts.AnalyzePolicy)},
	}
	for _, r := range opts.Require {
		for i := range list {
			if list[i].Name == r.Group {
				list[i].Required = r.Members
			}
		}
	}
	return list
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/internal/supervise"
)

const (
	// shmDir is the memory file system that slabs lie in.
	shmDir = "/dev/shm"
	group  = "analyze"
	// nameTime is how long a member's name may be held by a process that has just died.
	nameTime  = 5 * time.Second
	flushTime = 2 * time.Second
)

// run wires an analyser:
//
//	acquire ──▶ link.Member ──▶ analysis.Analyzer ──▶ spectra, previews (NATS)
//	  slab ◀── read-only ───────────┘   ▲
//	                                    └── partial series of other analysers (NATS)
//
// When ctx ends it leaves: frames that it has not released go to other analysers. When the supervisor dies it
// stays until the run is over. hard, when closed, ends it at once.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Analyze
	if _, err := config.Parse(config.Program{
		Name: "analyze", Description: "Computes spectra of a camera's frames and publishes them.",
		CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	if opts.Name == "" {
		opts.Name = config.Name(fmt.Sprintf("%s-%d", group, os.Getpid()))
	}
	name := string(opts.Name)
	logger := opts.Logger(stderr, name)
	if err := analysis.LowerPriority(analysis.Niceness); err != nil {
		logger.Warn("the analysis runs at the priority of the others", "error", err)
	}
	watched, unwatch, err := supervise.WatchParent(ctx, getenv)
	if err != nil {
		return err
	}
	defer unwatch()
	nc, err := bus.Connect(watched, bus.Options{NATS: opts.NATS, Process: name, Log: logger})
	if err != nil {
		return err
	}
	defer nc.Close()
	err = serve(watched, hard, opts, nc, logger)
	if nc.IsConnected() {
		// The last results get a moment to leave; a broker that goes first is no failure of ours.
		if e := nc.FlushTimeout(flushTime); e != nil {
			logger.Debug("the last results may be lost", "error", e)
		}
	}
	return err
}

// serve works on runs until ctx ends, in the way that its cause asks for.
func serve(ctx context.Context, hard <-chan struct{}, opts config.Analyze, nc *nats.Conn, logger *slog.Logger) error {
	camera, name := string(opts.Camera.Camera), string(opts.Name)
	analyzer, err := analysis.New(settings(opts, analysis.NATS(nc, camera, name), logger))
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	presence, err := announce(ctx, camera, name)
	if err != nil {
		return err
	}
	defer presence.Close()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	member := link.NewMember(link.MemberConfig{ //nolint:contextcheck // a membership lives until its Close
		Dialer: link.NewDialer(link.DialerConfig{
			Transport: link.NATS(nc), Base: "sluice." + camera, Timing: link.Timing{Heartbeat: opts.Heartbeat},
			Carrier: shm.Carrier{}.Name(), Health: analyzer.Health,
		}),
		Carrier: shm.Carrier{Dir: shmDir},
		Join:    link.Join{Group: group, Name: name, PID: os.Getpid(), Host: host, Nonce: rand.Text(), Restarts: opts.Restarts},
		Logger:  logger,
	})
	defer func() {
		if err := member.Close(); err != nil {
			logger.Warn("leaving the group", "error", err)
		}
	}()

	// What the analyser does outlives the wish to stop: it says itself when it is done.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	service, err := bus.Serve(working, nc, group, camera, name)
	if err != nil {
		return exit.Errorf(exit.Unavailable, "registering the service: %w", err)
	}
	defer service.Close()
	g, working := errgroup.WithContext(working)
	g.Go(func() error {
		defer stop()
		return analyzer.Run(working, member)
	})
	g.Go(func() error { depart(ctx, working, hard, stop, analyzer, member); return nil })
	g.Go(func() error {
		status{bus.NewPublisher(nc, camera, name), analyzer, member, opts.Restarts, logger}.run(working)
		return nil
	})
	err = g.Wait()
	if errors.Is(err, link.ErrRefused) {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exit.Errorf(exit.Interrupted, "stopped before the analysis was done")
	}
	return err
}

// settings are the analysis' configuration.
func settings(opts config.Analyze, m analysis.Messenger, logger *slog.Logger) analysis.Config {
	c := analysis.Default()
	c.Camera, c.Member, c.Messenger, c.Log = string(opts.Camera.Camera), string(opts.Name), m, logger
	c.Rows, c.Cols = opts.Tiles.Rows, opts.Tiles.Columns
	c.Segment = int(opts.Segment)
	c.Window = spectrum.Window(opts.Window)
	c.Every = opts.SpectrumEvery
	if !opts.Preview {
		c.PreviewEvery = -1
	}
	return c
}

// announce takes the member's name.
func announce(ctx context.Context, camera, name string) (*shm.Presence, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	p, err := shm.Announce(ctx, shmDir, camera, name)
	if errors.Is(err, slab.ErrInUse) {
		return nil, &exit.Error{Code: exit.Usage, Err: err}
	}
	return p, err
}

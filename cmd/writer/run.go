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

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/supervise"
	"github.com/sluicedaq/sluice/internal/writer"
)

const (
	// shmDir is the memory file system that slabs lie in.
	shmDir = "/dev/shm"
	group  = "writer"
	// nameTime is how long a member's name may be held by a process that has just died.
	nameTime  = 5 * time.Second
	flushTime = 2 * time.Second
)

// run wires a writer:
//
//	acquire ──▶ link.Member ──▶ writer.Writer ──▶ store ──▶ disk
//	  slab ◀── read-only ────────────┘
//
// When ctx ends or the supervisor dies it stays until the run that goes on is over, since acquire then drains. hard,
// when closed, ends it at once: what is durable stays so.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Writer
	if _, err := config.Parse(config.Program{
		Name: "writer", Description: "Makes a camera's frames durable in stores below one folder.",
		CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	if opts.Name == "" {
		opts.Name = config.Name(fmt.Sprintf("%s-%d", group, os.Getpid()))
	}
	name := string(opts.Name)
	logger := opts.Logger(stderr, name)
	leave := make(chan struct{})
	w, err := writer.New(writer.Config{Root: opts.Out, Name: name, Logger: logger, Leave: leave})
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	ctx, unwatch, err := supervise.WatchParent(ctx, getenv)
	if err != nil {
		return err
	}
	defer unwatch()
	nc, err := bus.Connect(ctx, bus.Options{NATS: opts.NATS, Process: name, Log: logger})
	if err != nil {
		return err
	}
	defer nc.Close()
	err = serve(ctx, hard, opts, w, leave, nc, logger)
	if nc.IsConnected() {
		// The last releases get a moment to leave; a broker that goes first is no failure of ours.
		if e := nc.FlushTimeout(flushTime); e != nil {
			logger.Debug("the last messages may be lost", "error", e)
		}
	}
	return err
}

// serve works on runs until it may leave.
func serve(ctx context.Context, hard <-chan struct{}, opts config.Writer, w *writer.Writer, leave chan<- struct{}, nc *nats.Conn, logger *slog.Logger) error {
	camera, name := string(opts.Camera.Camera), string(opts.Name)
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
			Carrier: shm.Carrier{}.Name(), Health: w.Health,
		}),
		Carrier: shm.Carrier{Dir: shmDir},
		Join:    link.Join{Group: group, Name: name, PID: os.Getpid(), Host: host, Nonce: rand.Text(), Restarts: opts.Restarts},
		Claims:  w.Claims,
		Logger:  logger,
	})
	defer func() {
		if err := member.Close(); err != nil {
			logger.Warn("leaving the group", "error", err)
		}
	}()

	// What the writer does outlives the wish to stop: it says itself when it is done.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	service, err := bus.Serve(working, nc, group, camera, name)
	if err != nil {
		return exit.Errorf(exit.Unavailable, "registering the service: %w", err)
	}
	defer service.Close()
	keeping := results{writer: w, logger: logger}
	stopKeeping, err := keeping.subscribe(nc, camera)
	if err != nil {
		return exit.Errorf(exit.Unavailable, "%w", err)
	}
	defer stopKeeping()
	g, working := errgroup.WithContext(working)
	g.Go(func() error {
		defer stop()
		return w.Run(working, member)
	})
	g.Go(func() error { depart(ctx, working, hard, stop, leave, member); return nil })
	g.Go(func() error {
		status{bus.NewPublisher(nc, camera, name), w, member, opts.Restarts, logger}.run(working)
		return nil
	})
	err = g.Wait()
	if errors.Is(err, link.ErrRefused) {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	return err
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

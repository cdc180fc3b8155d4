package main

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/member"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/writer"
)

const (
	group = "writer"
	// gcPercent is by how much a writer's heap grows before it is collected. A few MiB of it are in use, and what comes to
	// them lives as long as a commit: less collecting costs ten MiB, and saves a seventh of the processor time at frames of
	// 256 KiB (bench/cpu.txt).
	gcPercent = 400
)

// run wires a writer:
//
//	acquire ──▶ member.Run ──▶ writer.Writer ──▶ store ──▶ disk
//	  slab ◀── read-only ───────────┘
//
// When ctx ends it seals its shards and goes; the last writer stays until the run is over, and so does one whose supervisor
// dies, since acquire then drains. hard, when closed, ends it at once: what is durable stays so.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Writer
	if _, err := config.Parse(config.Program{
		Name: group, Description: "Makes a camera's frames durable in stores below one folder.",
		CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	name := opts.NameIn(group)
	logger := opts.Logger(stderr, name)
	leaving, leave := context.WithCancel(context.Background())
	defer leave()
	book := refusal.New(logger)
	// A write past the page cache keeps its thread for milliseconds, and the scheduler takes as long to notice that the
	// processor could run something else: there are as many more as writes are in flight.
	cores := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores + store.DefaultDepth))
	if getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	w, err := writer.New(writer.Config{
		Root: opts.Out, Name: name, Logger: logger, Refusals: book, Leave: leaving.Done(), Encoders: cores,
	})
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	cfg := member.Config{
		Group: group, Camera: string(opts.Camera.Camera), Name: name, NATS: opts.NATS,
		Way: opts.Way, Receive: opts.Receive, Heartbeat: opts.Heartbeat, Restarts: opts.Restarts, Logger: logger, Refusals: book, Metrics: opts.Metrics,
	}
	return member.Run(ctx, hard, getenv, cfg, func(nc *nats.Conn) (member.Work, error) {
		return member.Work{
			Run: func(ctx context.Context, rx link.Receiver) error {
				stop, err := w.KeepResults(nc, cfg.Camera)
				if err != nil {
					return &exit.Error{Code: exit.Unavailable, Err: err}
				}
				defer stop()
				return w.Run(ctx, rx)
			},
			Leave:  func(bool) { leave() },
			Health: w.Health, Claims: w.Claims, Status: w.Status,
		}, nil
	})
}

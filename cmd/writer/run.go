package main

import (
	"context"
	"io"
	"runtime"

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
	// heapReserve is memory that counts as in use and is never touched, so that the system gives none for it. The heap is
	// collected when it has grown by as much as is in use, and without a codec that is 2 MiB: at 5700 frames a second,
	// thirteen collections in each take a tenth of the writer's processor time (bench/cpu.txt). A factor
	// (debug.SetGCPercent) would hold a multiple of a codec's buffers too.
	heapReserve = 14 << 20
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
	reserve := make([]byte, heapReserve)
	defer runtime.KeepAlive(reserve)
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

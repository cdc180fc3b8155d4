package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/member"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	group = "analyze"
	// beside is the memory for all but what a run's analysis states: half of what the process may take.
	beside = 64 << 20
)

// run wires an analyser:
//
//	acquire ──▶ member.Run ──▶ analysis.Analyzer ──▶ spectra, previews (NATS)
//	  slab ◀── read-only ───────────┘   ▲
//	                                    └── partial series of other analysers (NATS)
//
// When ctx ends it works off what it has and goes; the last one of a lossless group stays until the run is over, and so does
// one whose supervisor dies. hard, when closed, ends it at once.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Analyze
	if _, err := config.Parse(config.Program{
		Name: group, Description: "Computes spectra of a camera's frames and publishes them.",
		CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	name := opts.NameIn(group)
	opts.Name = config.Name(name)
	logger := opts.Logger(stderr, name)
	if err := analysis.LowerPriority(analysis.Niceness); err != nil {
		logger.Warn("the analysis runs at the priority of the others", "error", err)
	}
	processors := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(processors)
	book := refusal.New(logger)
	cfg := member.Config{
		Group: group, Camera: string(opts.Camera.Camera), Name: name, NATS: opts.NATS,
		Way: opts.Way, Receive: opts.Receive, Heartbeat: opts.Heartbeat, Restarts: opts.Restarts, Logger: logger, Refusals: book, Metrics: opts.Metrics,
	}
	return member.Run(ctx, hard, getenv, cfg, func(nc *nats.Conn) (member.Work, error) {
		settings := settings(opts, analysis.NATS(nc, cfg.Camera, name), logger)
		settings.Refusals = book
		// What is no longer used goes when the memory comes near its limit, and not only when the heap has doubled.
		settings.Stated = func(bytes int64) { debug.SetMemoryLimit(bytes + beside) }
		a, err := analysis.New(settings)
		if err != nil {
			return member.Work{}, &exit.Error{Code: exit.Usage, Err: err}
		}
		if n := a.Workers(); processors > 1 && n >= processors {
			// Workers that have all threads keep the link waiting for ten milliseconds; the kernel would not.
			runtime.GOMAXPROCS(processors + n)
		}
		return work(a), nil
	})
}

// work is the analysis as the work of a member.
func work(a *analysis.Analyzer) member.Work {
	return member.Work{
		Run: func(ctx context.Context, rx link.Receiver) error {
			err := a.Run(ctx, rx)
			if errors.Is(err, context.Canceled) {
				return exit.Errorf(exit.Interrupted, "stopped before the analysis was done")
			}
			return err
		},
		Leave:   func(bool) { a.Drain() },
		Abandon: a.Leave,
		Health:  a.Health,
		Status:  func(link.Health, *bus.MemberStatus) frames.RunID { return a.Present() },
	}
}

// settings are the analysis' configuration.
func settings(opts config.Analyze, m analysis.Messenger, logger *slog.Logger) analysis.Config {
	c := analysis.Default()
	c.Camera, c.Member, c.Messenger, c.Log = string(opts.Camera.Camera), string(opts.Name), m, logger
	c.Rows, c.Cols = opts.Tiles.Rows, opts.Tiles.Columns
	c.Segment = int(opts.Segment)
	c.Window = spectrum.Window(opts.Window)
	c.Every, c.All = opts.SpectrumEvery, opts.SpectrumOf == "all"
	c.Workers, c.Share = int(opts.Workers), opts.Share
	if !opts.Preview {
		c.PreviewEvery = -1
	}
	return c
}

// Command writer is Sluice's writer with a disk whose operations fail as a test wants it. It takes the place of the real
// one beside the other programs.
package main

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/interrupt"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/member"
	"github.com/sluicedaq/sluice/internal/writer"
	"github.com/sluicedaq/sluice/test/disk/faults"
)

const group = "writer"

func main() {
	ctx, hard, stop := interrupt.Notify(context.Background())
	err := run(ctx, hard, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(config.Report(os.Stderr, group, err))
}

func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var opts config.Writer
	if _, err := config.Parse(config.Program{
		Name: group, Description: "A writer with a disk that fails.", CLI: &opts, Args: args, Getenv: getenv, Stdout: stdout,
	}); err != nil {
		return err
	}
	name := opts.NameIn(group)
	logger := opts.Logger(stderr, name)
	disk, err := faults.Open(getenv(faults.Folder), name, opts.Restarts)
	if err != nil {
		return exit.Errorf(exit.Usage, "%s: %w", faults.Folder, err)
	}
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { disk.Follow(following) })
	defer wg.Wait()
	defer end()
	leave := make(chan struct{})
	w, err := writer.New(writer.Config{Root: opts.Out, Name: name, FS: disk.FS(), Logger: logger, Leave: leave})
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	cfg := member.Config{
		Group: group, Camera: string(opts.Camera.Camera), Name: name, NATS: opts.NATS,
		Heartbeat: opts.Heartbeat, Restarts: opts.Restarts, Logger: logger,
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
			Leave:  func(bool) { close(leave) },
			Health: w.Health, Claims: w.Claims, Status: w.Status,
		}, nil
	})
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/broker/natsd"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// lingerTime is how long a broker whose supervisor died stays for clients that still drain.
const lingerTime = 10 * time.Minute

// brokerCmd is the NATS server of a local run. It is a process of its own, so that acquire and the members can
// still drain when `sluice run` is killed.
type brokerCmd struct {
	config.Camera
	Session  string `name:"session" help:"The run's own word, by which a restarted broker knows its file."`
	Restarts int    `name:"restarts" hidden:""`
}

func (b *brokerCmd) run(ctx context.Context, p *process) error {
	dir, err := broker.Dir(p.getenv)
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	watched, stop, err := supervise.WatchParent(context.WithoutCancel(ctx), p.getenv)
	if err != nil {
		return err
	}
	defer stop()
	err = natsd.Run(ctx, natsd.Config{
		Place: broker.At(dir, string(b.Camera.Camera)), Camera: string(b.Camera.Camera), Session: b.Session,
		Gone: watched.Done(), Linger: lingerTime, Log: p.log,
	})
	if errors.Is(err, broker.ErrHeld) {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	return err
}

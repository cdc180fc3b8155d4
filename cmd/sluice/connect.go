package main

import (
	"context"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// find completes n: where neither --nats nor a broker's file is given, it names the broker of the camera's local
// run, or with an empty camera that of the only local run. A file that is not there any more was set by
// `sluice env` for a run that is over.
func find(p *process, n config.NATS, camera string) (config.NATS, error) {
	if n.NATS != "" {
		return n, nil
	}
	if n.NATSFile != "" {
		if _, err := os.Stat(n.NATSFile); err == nil {
			return n, nil
		}
	}
	dir, err := broker.Dir(p.getenv)
	if err != nil {
		return n, &exit.Error{Code: exit.Usage, Err: err}
	}
	if n.NATSFile, err = broker.Find(dir, camera); err != nil {
		return n, &exit.Error{Code: exit.Usage, Err: err}
	}
	return n, nil
}

// connect connects to the broker that find names.
func connect(ctx context.Context, p *process, n config.NATS, camera string) (*nats.Conn, error) {
	n, err := find(p, n, camera)
	if err != nil {
		return nil, err
	}
	return bus.Connect(ctx, bus.Options{NATS: n, Role: "operator", Process: "operator", Log: p.log})
}

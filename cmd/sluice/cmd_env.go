package main

import (
	"context"
	"fmt"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// envCmd prints shell commands for eval "$(sluice env)": Sluice's own variables and those of the nats tool.
type envCmd struct {
	Camera config.Name `arg:"" optional:"" help:"The camera, where several runs go on."`
}

func (e *envCmd) run(_ context.Context, p *process) error {
	n, err := find(p, config.NATS{}, string(e.Camera))
	if err != nil {
		return err
	}
	at, err := bus.ReadEndpoint(n.NATSFile)
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	for _, v := range [][2]string{
		{"SLUICE_NATS_FILE", n.NATSFile}, {"SLUICE_CAMERA", at.Camera},
		{"NATS_URL", at.URL}, {"NATS_USER", at.User}, {"NATS_PASSWORD", at.Password},
	} {
		if _, err := fmt.Fprintf(p.stdout, "export %s=%s\n", v[0], quote(v[1])); err != nil {
			return err
		}
	}
	return nil
}

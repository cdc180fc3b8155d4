package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/metrics"
)

// healthCmd asks processes at their metrics listeners whether they are well. It is the health check of containers, whose
// image has nothing else that could ask, and exits with 1 when one is not.
type healthCmd struct {
	Address []config.Address `arg:"" optional:"" help:"Who is asked, HOST:PORT as with --metrics; of a name that has several addresses everybody (default: the process at --metrics)."`

	config.Metrics
	Timeout time.Duration `name:"timeout" default:"3s" placeholder:"TIME" help:"How long to wait for an answer: a process that is stopped gives none (${default})."`
	JSON    bool          `name:"json" help:"Print one JSON object in a line for each process."`
}

// healthLine is what --json prints.
type healthLine struct {
	Address string `json:"address"`
	metrics.Health
}

func (c *healthCmd) run(ctx context.Context, p *process) error {
	asked := c.Address
	if len(asked) == 0 {
		if c.Metrics.Metrics == "" {
			return exit.Errorf(exit.Usage, "--metrics: where the process listens is missing: give HOST:PORT, or the variable %s", config.EnvName("metrics"))
		}
		asked = []config.Address{c.Metrics.Metrics}
	}
	var lines []healthLine
	for _, a := range asked {
		list, err := metrics.Resolve(ctx, a)
		if err != nil {
			return exit.Errorf(exit.Internal, "not well: %w", err)
		}
		for _, at := range list {
			lines = append(lines, c.ask(ctx, at))
		}
	}
	var bad []healthLine
	for _, l := range lines {
		if !l.OK {
			bad = append(bad, l)
		}
		var err error
		switch {
		case c.JSON:
			err = printJSON(p.stdout, l)
		case l.OK:
			_, err = fmt.Fprintf(p.stdout, "%s %s: well\n", l.Address, l.Process)
		}
		if err != nil {
			return err
		}
	}
	if len(bad) == 0 {
		return nil
	}
	errs := make([]error, len(bad))
	for i, l := range bad {
		errs[i] = fmt.Errorf("%s: %s", l.Address, l.Reason)
	}
	return exit.Errorf(exit.Internal, "%d of %d not well: %w", len(bad), len(lines), errors.Join(errs...))
}

// ask asks one process; one that does not answer is not well.
func (c *healthCmd) ask(ctx context.Context, at string) healthLine {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	h, err := metrics.Ask(ctx, at)
	if err != nil {
		h = metrics.Health{Reason: err.Error()}
	}
	return healthLine{at, h}
}

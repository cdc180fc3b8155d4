// Command sluice is the operator's command: it records runs, watches and controls them, and checks stores.
package main

import (
	"context"
	"os"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/interrupt"
)

func main() {
	ctx, hard, stop := interrupt.Notify(context.Background())
	err := run(ctx, hard, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(config.Report(os.Stderr, "sluice", err))
}

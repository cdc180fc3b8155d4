// Command writer is one writer of a camera: it takes frames from acquire and makes them durable in the run's store.
package main

import (
	"context"
	"os"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/interrupt"
)

func main() {
	interrupt.Outlive()
	ctx, hard, stop := interrupt.Notify(context.Background())
	err := run(ctx, hard, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(config.Report(os.Stderr, "writer", err))
}

// Command acquire runs one camera: it captures frames into shared memory inside a byte budget, offers them to
// writers and analysers over NATS, and answers the camera's control service.
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
	os.Exit(config.Report(os.Stderr, "acquire", err))
}

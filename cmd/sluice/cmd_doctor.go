package main

import (
	"context"
	"fmt"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// doctorCmd checks the machine. It exits with 1 when a check fails; warnings do not count.
type doctorCmd struct {
	config.NATS
	Out  string `name:"out" default:"." placeholder:"DIR" help:"The folder in which stores are to be made (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object in a line for each check."`
}

// The verdicts of a check.
const (
	fit   = "ok"
	warns = "warn"
	fails = "fail"
)

// finding is the result of one check.
type finding struct {
	Verdict string `json:"verdict"`
	Check   string `json:"check"`
	Text    string `json:"text"` // what is, and where it is not ok what would be right
}

func (d *doctorCmd) run(ctx context.Context, p *process) error {
	bad := 0
	for _, check := range d.checks(ctx, p) {
		f := check()
		if f.Verdict == fails {
			bad++
		}
		var err error
		if d.JSON {
			err = printJSON(p.stdout, f)
		} else {
			_, err = fmt.Fprintf(p.stdout, "%-4s  %-15s %s\n", f.Verdict, f.Check, f.Text)
		}
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return exit.Errorf(exit.Internal, "%d checks failed", bad)
	}
	return nil
}

// checks are all checks, in the order of the report.
func (d *doctorCmd) checks(ctx context.Context, p *process) []func() finding {
	return []func() finding{
		func() finding { return checkShm(shmDir) },
		checkMemory,
		checkCPU,
		func() finding { return checkGovernor("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") },
		func() finding { return checkDisk(d.Out) },
		func() finding { return checkDirect(d.Out) },
		checkFiles,
		func() finding { return checkRuntimeDir(p.getenv) },
		checkPrograms,
		checkOpenCV,
		func() finding { return checkNATS(ctx, p, d.NATS) },
	}
}

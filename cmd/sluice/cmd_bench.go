package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/sluicedaq/sluice/internal/bench"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/interrupt"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/speed"
	"github.com/sluicedaq/sluice/internal/supervise"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// benchCmd measures what this machine holds.
type benchCmd struct {
	What   string          `arg:"" optional:"" default:"all" enum:"transport,disk,fft,compress,all" help:"transport, disk, fft, compress or all (${default})."`
	Out    string          `name:"out" default:"." placeholder:"DIR" help:"A folder on the disk to be measured (${default})."`
	Budget config.ByteSize `name:"budget" default:"256MiB" placeholder:"SIZE" help:"The size of the slab (${default})."`
	Size   config.ByteSize `name:"size" default:"8GiB" placeholder:"SIZE" help:"How much each run writes (${default}); as much has to be free."`
	Pairs  int             `name:"pairs" default:"5" help:"How often each figure is measured, in turns with its limit (${default})."`
	Only   string          `name:"only" placeholder:"TEXT" help:"Take only the measures whose name has this in it, such as '256 KiB'."`
	Record string          `name:"record" placeholder:"FILE" help:"Write the JSON object into a file too."`
	JSON   bool            `name:"json" help:"Print one JSON object."`
}

// benchReport is what bench prints with --json.
type benchReport struct {
	V        int             `json:"v"` // 1
	Software string          `json:"software"`
	Host     string          `json:"host"`
	Time     time.Time       `json:"time"`
	Cores    int             `json:"cores"`
	Dir      string          `json:"dir"`
	Budget   int64           `json:"budget_bytes"`
	Size     int64           `json:"size_bytes"`
	Measures []bench.Measure `json:"measures"`
	Verdict  string          `json:"verdict,omitempty"`
}

// leastBench is the least of a budget and of a run.
const leastBench = config.ByteSize(64 << 20)

func (b *benchCmd) Validate() error {
	if b.Pairs < 1 || b.Pairs > 1000 {
		return fmt.Errorf("--pairs: %d: want 1 to 1000", b.Pairs)
	}
	if b.Budget < leastBench || b.Size < leastBench {
		return fmt.Errorf("--budget and --size: want %s at least", leastBench)
	}
	return nil
}

func (b *benchCmd) run(ctx context.Context, p *process) error {
	interrupt.Outlive()
	r, err := b.prepare()
	if err != nil {
		return err
	}
	sluice, err := supervise.Sibling("sluice")
	if err != nil {
		return err
	}
	out := newBenchOutput(p, b.JSON)
	defer out.close()
	out.begin(r)
	opts := bench.Options{
		Sluice: sluice, Dir: b.Out, Shm: shmDir, Budget: int64(b.Budget), Bytes: int64(b.Size), Pairs: b.Pairs, Only: b.Only, Told: out.told, Done: out.done,
	}
	for _, suite := range []struct {
		name string
		run  func(context.Context, bench.Options) ([]bench.Measure, error)
	}{{"transport", bench.Transport}, {"disk", bench.Disk}, {"compress", bench.Compress}, {"fft", bench.FFT}} {
		if b.What != suite.name && b.What != "all" {
			continue
		}
		list, err := suite.run(ctx, opts)
		if ctx.Err() != nil {
			return exit.Errorf(exit.Interrupted, "interrupted")
		}
		if err != nil {
			return b.explained(err)
		}
		r.Measures = append(r.Measures, list...)
		b.remember(p, r.Host, list)
	}
	if len(r.Measures) == 0 {
		return exit.Errorf(exit.Usage, "--only: no measure of %s has %q in its name", b.What, b.Only)
	}
	r.Verdict = bench.Verdict(r.Measures, r.Budget, r.Cores)
	if err := b.record(r); err != nil {
		return err
	}
	return out.end(r)
}

// record writes the report into the user's file.
func (b *benchCmd) record(r benchReport) error {
	if b.Record == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(b.Record, append(text, '\n'), 0o666)
	}
	if err != nil {
		return exit.Errorf(exit.Usage, "--record: %w", err)
	}
	return nil
}

// prepare refuses early what can be refused.
func (b *benchCmd) prepare() (benchReport, error) {
	r := benchReport{
		V: 1, Software: config.Software(), Time: time.Now().UTC(), Cores: runtime.NumCPU(), Dir: b.Out,
		Budget: int64(b.Budget), Size: int64(b.Size), Measures: []bench.Measure{},
	}
	var err error
	if r.Host, err = os.Hostname(); err != nil {
		return r, err
	}
	if free, err := config.FreeMemory(); err == nil && r.Budget > free {
		return r, exit.Errorf(exit.Usage, "--budget: %s is more than the %s of memory that is free", b.Budget, config.ByteSize(free>>20<<20))
	}
	if b.What == "transport" {
		return r, nil
	}
	if info, err := os.Stat(b.Out); err != nil || !info.IsDir() {
		return r, exit.Errorf(exit.Usage, "--out: %s is not a folder", b.Out)
	}
	free, err := vfs.OS{}.Free(b.Out)
	if err != nil {
		return r, exit.Errorf(exit.Usage, "--out: %w", err)
	}
	if need := uint64(b.Size) + uint64(b.Size)/8; free < need {
		return r, exit.Errorf(exit.DiskFull, "--out: %s has %s free, %s are needed; a smaller --size takes less",
			b.Out, config.ByteSize(free>>20<<20), config.ByteSize(need))
	}
	return r, nil
}

// remember keeps what the disk has taken, for the forecasts of runs. Runs that hardly fill the budget say nothing.
func (b *benchCmd) remember(p *process, host string, list []bench.Measure) {
	if b.Size < 4*b.Budget {
		return
	}
	book := speed.Open(speed.Path(p.getenv), host)
	seen := map[string]bool{}
	for _, m := range list {
		key := fmt.Sprint(m.Codec, m.FrameBytes)
		if m.Codec == "" || seen[key] { // the second is with an analyser beside it
			continue
		}
		seen[key] = true
		if err := book.Note(b.Out, m.Codec, m.FrameBytes, m.Achieved*1e9, speed.FromBench); err != nil {
			p.log.Warn("what the disk takes is not kept for the forecasts of runs", "error", err)
			return
		}
	}
}

// explained gives an error the exit code that it stands for.
func (b *benchCmd) explained(err error) error {
	var known *exit.Error
	switch {
	case errors.As(err, &known):
		return exit.Errorf(known.Code, "%w", err)
	case vfs.IsFull(err):
		return &exit.Error{Code: exit.DiskFull, Err: err}
	case errors.Is(err, slab.ErrNoSpace), errors.Is(err, slab.ErrForeign), errors.Is(err, os.ErrPermission):
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	return err
}

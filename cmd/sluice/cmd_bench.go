package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluicedaq/sluice/internal/bench"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
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
	JSON   bool            `name:"json" help:"Print one JSON object."`
}

// benchReport is what bench prints with --json.
type benchReport struct {
	V        int             `json:"v"` // 1
	Software string          `json:"software"`
	Host     string          `json:"host"`
	Time     time.Time       `json:"time"`
	Budget   int64           `json:"budget_bytes"`
	Measures []bench.Measure `json:"measures"`
	Verdict  string          `json:"verdict,omitempty"`
}

func (b *benchCmd) Validate() error {
	if b.Pairs < 1 || b.Pairs > 1000 {
		return fmt.Errorf("--pairs: %d: want 1 to 1000", b.Pairs)
	}
	if least := config.ByteSize(64 << 20); b.Budget < least || b.Size < least {
		return fmt.Errorf("--budget and --size: want %s at least", least)
	}
	return nil
}

func (b *benchCmd) run(ctx context.Context, p *process) error {
	sluice, err := supervise.Sibling("sluice")
	if err != nil {
		return err
	}
	free, err := vfs.OS{}.Free(b.Out)
	if err != nil {
		return exit.Errorf(exit.Usage, "--out: %w", err)
	}
	if need := uint64(b.Size) + uint64(b.Size)/8; free < need && b.What != "fft" && b.What != "transport" {
		return exit.Errorf(exit.DiskFull, "--out: %s has %s free, %s are needed; --size takes less", b.Out, config.ByteSize(free), config.ByteSize(need))
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	opts := bench.Options{
		Sluice: sluice, Dir: b.Out, Shm: shmDir, Budget: int64(b.Budget), Bytes: int64(b.Size), Pairs: b.Pairs,
		Told: func(what string) { p.log.Info("measuring " + what) },
	}
	r := benchReport{V: 1, Software: config.Software(), Host: host, Time: time.Now().UTC(), Budget: int64(b.Budget)}
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
			return err
		}
		r.Measures = append(r.Measures, list...)
		if !b.JSON {
			for _, m := range list {
				b.print(p, m)
			}
		}
	}
	r.Verdict = bench.Verdict(r.Measures, r.Budget)
	if b.JSON {
		return printJSON(p.stdout, r)
	}
	if r.Verdict != "" {
		_, err = fmt.Fprintf(p.stdout, "\n%s\n", r.Verdict)
	}
	return err
}

// print shows one measure as a line, and under it what else there is to say.
func (b *benchCmd) print(p *process, m bench.Measure) {
	fmt.Fprintf(p.stdout, "%-52s %8.2f %-8s of %8.2f  %5.2f\n", m.Name, m.Achieved, m.Unit, m.Limit, m.Ratio)
	var more []string
	if m.Frames > 0 && m.Unit != "frames/s" {
		more = append(more, fmt.Sprintf("%.0f frames/s", m.Frames))
	}
	if m.Stored > 0 {
		more = append(more, fmt.Sprintf("%.3f of the size", m.Stored))
	}
	if m.CPU > 0 {
		more = append(more, fmt.Sprintf("%.2f CPU s/GB", m.CPU))
	}
	if l := m.Latency; l != nil {
		more = append(more, fmt.Sprintf("at half the rate p50 %s, p99 %s, p99.9 %s, max %s",
			short(l.P50), short(l.P99), short(l.P999), short(l.Max)))
	}
	for line := range slices.Chunk(more, 4) {
		fmt.Fprintf(p.stdout, "    %s\n", strings.Join(line, ", "))
	}
	fmt.Fprintf(p.stdout, "    the limit: %s\n", m.LimitIs)
}

func short(d time.Duration) string { return d.Round(d / 100).String() }

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bench"
	"github.com/sluicedaq/sluice/internal/bus"
	runpkg "github.com/sluicedaq/sluice/internal/run"
)

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0.5: "0.50", 9.994: "9.99", 12.34: "12.3", 1234.6: "1235"} {
		if got := figure(v); got != want {
			t.Errorf("%g is shown as %s, want %s", v, got, want)
		}
	}
	for ns, want := range map[int64]string{7: "7ns", 1234: "1.2µs", 99_900: "100µs", 31_195_135: "31ms", 1_260_000_000: "1.3s"} {
		if got := span(ns); got != want {
			t.Errorf("%d ns is shown as %s, want %s", ns, got, want)
		}
	}
}

// TestBenchResult is what a person sees of a measure: each row, and a promise that was not kept.
func TestBenchResult(t *testing.T) {
	kept := false
	var out bytes.Buffer
	o := newBenchOutput(&process{stdout: &out, stderr: &bytes.Buffer{}}, false)
	o.told(bench.Progress{Measure: "nobody sees it"})
	o.done(bench.Measure{
		Name: "camera to disk", Unit: "GB/s", Achieved: 1.5, Limit: 2, Ratio: 0.75, RatioLow: 0.7, RatioHigh: 0.811, LimitIs: "writes", FrameBytes: 1 << 20, Frames: 1430,
		Other:   &bench.Limit{Limit: 1.6, Ratio: 0.94, RatioLow: 0.938, RatioHigh: 0.941, LimitIs: "others"},
		Latency: []bench.Latency{{Load: bench.LoadFull, Latency: runpkg.Latency{P50NS: 1e6, P99NS: 2e6, P999NS: 3e6, MaxNS: 4e6}}, {Load: bench.LoadHalf}},
		CPU:     &bench.CPU{Acquire: 0.1, Writer: 0.2, Analyze: 0.3, Rest: 0.4}, Stored: 0.41,
		Memory: []bench.Memory{{Process: "acquire", PeakAnonBytes: 65 << 20, LimitBytes: 64 << 20}, {Process: "broker", PeakAnonBytes: 5 << 20}}, MemoryKept: &kept,
		Note: "by and by",
	})
	o.close()
	want := `
camera to disk                                             1.50 of 2.00 GB/s   ratio 0.75 (0.70 to 0.81)
    limit    writes
             1.60 GB/s: ratio 0.94; others
    frames   1430 a second
    stored   0.410 of the size
    latency  full load: p50 1ms, p99 2ms, p99.9 3ms, max 4ms
             half load: p50 0s, p99 0s, p99.9 0s, max 0s
    CPU      1.000 s a GB: acquire 0.100, writer 0.200, analyse 0.300, the rest 0.400
    memory   acquire 65 MiB of 64 MiB: NOT KEPT
             broker 5.0 MiB
    note     by and by
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestDescribeForecast: it comes before the warnings, in one line.
func TestDescribeForecast(t *testing.T) {
	lines := describe(bus.Armed{Forecast: &bus.Forecast{Text: "the budget is full after 43s"}, Warnings: []string{"careful"}})
	if got := strings.Join(lines[len(lines)-2:], "|"); got != "the budget is full after 43s|warning: careful" {
		t.Error(got)
	}
}

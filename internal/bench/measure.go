package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/run"
)

// Measure is one figure beside its limit.
type Measure struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`     // "GB/s": 10⁹ bytes of pixels a second; or "frames/s"
	Achieved float64 `json:"achieved"` // median of the pairs
	Limit    float64 `json:"limit"`    // median of the pairs
	Ratio    float64 `json:"ratio"`    // median of the pairs' own ratios
	// RatioLow and RatioHigh are the [pairs.Interval] of the pairs' ratios.
	RatioLow  float64 `json:"ratio_low"`
	RatioHigh float64 `json:"ratio_high"`

	LimitIs string `json:"limit_is"` // what the limit measures
	Pairs   int    `json:"pairs"`

	FrameBytes int `json:"frame_bytes"`
	// Frames is the achieved figure in frames a second.
	Frames float64 `json:"frames_per_second"`
	// Other is another limit beside the first.
	Other   *Limit    `json:"other_limit,omitempty"`
	Latency []Latency `json:"latency,omitempty"`
	CPU     *CPU      `json:"cpu_seconds_per_gb,omitempty"`
	Memory  []Memory  `json:"memory,omitempty"`
	// MemoryKept says whether every process stayed within what guarantee 1 promises; absent where nothing is promised.
	MemoryKept *bool `json:"memory_kept,omitempty"`
	// Codec is what a run to disk was compressed with, and its level: "none", "zstd:1"; empty for other measures.
	Codec string `json:"codec,omitempty"`
	// Stored is the part of the pixels' size that a codec leaves, 0 where nothing is compressed.
	Stored float64 `json:"stored,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// Limit is another limit of a Measure: medians of the pairs, as those.
type Limit struct {
	Limit     float64 `json:"limit"`
	Ratio     float64 `json:"ratio"`
	RatioLow  float64 `json:"ratio_low"`
	RatioHigh float64 `json:"ratio_high"`
	LimitIs   string  `json:"limit_is"`
}

// Loads of a Latency.
const (
	LoadFull = "full" // frames come as fast as they can, and wait in the budget
	LoadHalf = "half" // half as many come as were achieved
)

// Latency is from a frame's capture to its release, as acquire counts it. Under full load the quantiles are the medians
// of the runs', and the maximum is that of all.
type Latency struct {
	Load string `json:"load"`
	run.Latency
}

// CPU is processor time in seconds for each GB of pixels (10⁹ bytes), the median of the runs. Of a measure in one process
// it is all in Rest.
type CPU struct {
	Acquire float64 `json:"acquire"`
	Writer  float64 `json:"writer"`
	Analyze float64 `json:"analyze"`
	Rest    float64 `json:"rest"` // the broker, and what starts and watches the others
}

// Total is the processor time of all.
func (c CPU) Total() float64 { return c.Acquire + c.Writer + c.Analyze + c.Rest }

// Memory is the most anonymous memory, in bytes, that was seen of a process in any of the runs.
type Memory struct {
	Process       string `json:"process"`
	PeakAnonBytes int64  `json:"peak_anon_bytes"`
	LimitBytes    int64  `json:"limit_bytes,omitempty"` // 0 where nothing is promised
}

// gb is 10⁹ bytes: what rates are in.
const gb = 1e9

// fill takes the figures of a meter.
func (m *Measure) fill(meter *pairs.Meter) {
	r := meter.Result()
	m.Achieved, m.Limit, m.Ratio, m.RatioLow, m.RatioHigh, m.Pairs = r.A, r.B, r.Ratio, r.Low, r.High, r.Pairs
	m.Frames = m.Achieved
	if m.Unit == unitGB {
		m.Frames = m.Achieved * gb / float64(m.FrameBytes)
	}
}

// The units.
const (
	unitGB     = "GB/s"
	unitFrames = "frames/s"
)

// used takes the accounts of runs: processor time, memory and latencies.
func (m *Measure) used(list []account) {
	var parts [cpuParts][]float64
	peaks := map[string]int{}
	for _, a := range list {
		var cpu [cpuParts]float64
		for _, p := range a.Processes {
			cpu[part(p.Name)] += p.CPUSeconds() / (float64(a.Bytes) / gb)
			i, known := peaks[p.Name]
			if !known {
				i = len(m.Memory)
				peaks[p.Name] = i
				m.Memory = append(m.Memory, Memory{Process: p.Name})
			}
			m.Memory[i].PeakAnonBytes = max(m.Memory[i].PeakAnonBytes, p.PeakAnonBytes)
			m.Memory[i].LimitBytes = max(m.Memory[i].LimitBytes, p.LimitBytes)
		}
		for i := range parts {
			parts[i] = append(parts[i], cpu[i])
		}
	}
	m.CPU = &CPU{
		Acquire: pairs.Median(parts[acquirePart]), Writer: pairs.Median(parts[writePart]), Analyze: pairs.Median(parts[analysePart]),
		Rest: pairs.Median(parts[restPart]),
	}
	kept := true
	for _, p := range m.Memory {
		kept = kept && (p.LimitBytes == 0 || p.PeakAnonBytes <= p.LimitBytes)
	}
	m.MemoryKept = &kept
	var latencies []run.Latency
	for _, a := range list {
		if a.Latency != nil {
			latencies = append(latencies, *a.Latency)
		}
	}
	if len(latencies) > 0 {
		m.Latency = append(m.Latency, Latency{LoadFull, together(latencies)})
	}
}

// The parts of a CPU.
const (
	acquirePart = iota
	writePart
	analysePart
	restPart
	cpuParts
)

// part is a process's place in a CPU.
func part(process string) int {
	switch {
	case process == "acquire":
		return acquirePart
	case strings.HasPrefix(process, "writer"):
		return writePart
	case strings.HasPrefix(process, "analyze"):
		return analysePart
	}
	return restPart
}

// together is the latency of several runs, one at least: the medians, and the maximum of all.
func together(list []run.Latency) (l run.Latency) {
	var p50, p99, p999 []float64
	for _, one := range list {
		p50, p99, p999 = append(p50, float64(one.P50NS)), append(p99, float64(one.P99NS)), append(p999, float64(one.P999NS))
		l.Frames, l.MaxNS = l.Frames+one.Frames, max(l.MaxNS, one.MaxNS)
	}
	l.P50NS, l.P99NS, l.P999NS = int64(pairs.Median(p50)), int64(pairs.Median(p99)), int64(pairs.Median(p999))
	return l
}

// otherLimit collects another limit, pair by pair.
type otherLimit struct{ limits, ratios []float64 }

func (o *otherLimit) add(achieved, limit float64) {
	o.limits, o.ratios = append(o.limits, limit), append(o.ratios, achieved/limit)
}

func (o *otherLimit) result(is string) *Limit {
	low, high := pairs.Interval(o.ratios)
	return &Limit{Limit: pairs.Median(o.limits), Ratio: pairs.Median(o.ratios), RatioLow: low, RatioHigh: high, LimitIs: is}
}

// round measures n pairs and fills in what comes of them. The sides return m's unit; after each pair comes what else
// belongs to it.
func (o Options) round(ctx context.Context, m *Measure, n int, achieved, limit pairs.Side, after ...func(context.Context) error) error {
	var meter pairs.Meter
	for i := range n {
		if err := o.pair(ctx, m.Name, &meter, i, n, achieved, limit); err != nil {
			return err
		}
		for _, f := range after {
			if err := f(ctx); err != nil {
				return fmt.Errorf("measuring %s: %w", m.Name, err)
			}
		}
	}
	m.fill(&meter)
	return nil
}

// pair measures pair i of n.
func (o Options) pair(ctx context.Context, name string, meter *pairs.Meter, i, n int, achieved, limit pairs.Side) error {
	told := func(what string, side pairs.Side) pairs.Side {
		return func(ctx context.Context) (float64, error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			o.tell(Progress{Measure: name, Pair: i + 1, Pairs: n, What: what})
			return side(ctx)
		}
	}
	if err := meter.Measure(ctx, told("sluice", achieved), told("the limit", limit)); err != nil {
		return fmt.Errorf("measuring %s: %w", name, err)
	}
	return nil
}

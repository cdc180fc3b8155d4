package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/sluicedaq/sluice/internal/bench"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/monitor"
)

// progressTime is how long showing progress may take.
const progressTime = 250 * time.Millisecond

// benchOutput shows what is measured, on a terminal in one line that is written over, and each result as it comes.
type benchOutput struct {
	json   bool
	stdout io.Writer
	stderr io.WriteCloser // the terminal for progress, nil where there is none
	width  int

	progress chan bench.Progress
	wg       sync.WaitGroup
	mu       sync.Mutex // guards the terminal, and what follows
	began    time.Time
	now      bench.Progress
	since    time.Time // when the present step began
}

func newBenchOutput(p *process, json bool) *benchOutput {
	o := &benchOutput{json: json, stdout: p.stdout, began: time.Now(), progress: make(chan bench.Progress)}
	if f, ok := p.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		o.stderr, o.width = monitor.NewOutput(f, progressTime), 80
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 1 {
			o.width = w
		}
	}
	if o.stderr == nil {
		return o
	}
	o.wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case step, ok := <-o.progress:
				if !ok {
					return
				}
				o.show(step)
			case <-tick.C:
				o.show(o.now)
			}
		}
	})
	return o
}

// close removes the line of progress.
func (o *benchOutput) close() {
	close(o.progress)
	o.wg.Wait()
	if o.stderr != nil {
		o.clear()
		o.stderr.Close()
	}
}

// clear removes the line of progress until there is another one.
func (o *benchOutput) clear() {
	if o.stderr != nil {
		fmt.Fprint(o.stderr, "\r\x1b[K")
	}
}

// show draws the line of progress.
func (o *benchOutput) show(step bench.Progress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if step != o.now {
		o.now, o.since = step, time.Now()
	}
	if step == (bench.Progress{}) {
		return
	}
	text := step.Measure
	if step.Pairs > 0 {
		text += fmt.Sprintf(": pair %d of %d", step.Pair, step.Pairs)
	}
	text += ", " + step.What
	at := func(t time.Time) string { return time.Since(t).Truncate(time.Second).String() }
	fmt.Fprintf(o.stderr, "\r\x1b[K%s", ansi.Truncate(fmt.Sprintf("%7s  %s (%s)", at(o.began), text, at(o.since)), o.width-1, "…"))
}

// told shows a step.
func (o *benchOutput) told(p bench.Progress) {
	if o.stderr != nil {
		o.progress <- p
	}
}

// begin says what is going to be measured.
func (o *benchOutput) begin(r benchReport) {
	if o.json {
		return
	}
	fmt.Fprintf(o.stdout, "%s on %s: %d processors, budget %s, %s a run below %s\n",
		r.Software, r.Host, r.Cores, config.ByteSize(r.Budget), config.ByteSize(r.Size), r.Dir)
}

// done shows a result.
func (o *benchOutput) done(m bench.Measure) {
	if o.json {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-58s %s of %s %s   ratio %s\n", m.Name, figure(m.Achieved), figure(m.Limit), m.Unit, ratio(m.Ratio, m.RatioLow, m.RatioHigh))
	row := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "    %-9s%s\n", label, fmt.Sprintf(format, args...))
	}
	row("limit", "%s", m.LimitIs)
	if l := m.Other; l != nil {
		row("", "%s %s: ratio %s; %s", figure(l.Limit), m.Unit, ratio(l.Ratio, l.RatioLow, l.RatioHigh), l.LimitIs)
	}
	if m.Unit == "GB/s" {
		row("frames", "%s a second", figure(m.Frames))
	}
	if m.Stored > 0 {
		row("stored", "%.3f of the size", m.Stored)
	}
	label := "latency"
	for _, l := range m.Latency {
		row(label, "%s load: p50 %s, p99 %s, p99.9 %s, max %s", l.Load, span(l.P50NS), span(l.P99NS), span(l.P999NS), span(l.MaxNS))
		label = ""
	}
	if c := m.CPU; c != nil {
		row("CPU", "%s", cpuText(*c))
	}
	promised, others := memoryText(m)
	label = "memory"
	for _, text := range []string{promised, others} {
		if text != "" {
			row(label, "%s", text)
			label = ""
		}
	}
	if m.Note != "" {
		row("note", "%s", m.Note)
	}
	// Whoever does not read it loses it.
	_, _ = io.WriteString(o.stdout, b.String())
}

// end shows the verdict, or with --json everything.
func (o *benchOutput) end(r benchReport) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	if o.json {
		return printJSON(o.stdout, r)
	}
	if r.Verdict == "" {
		return nil
	}
	_, err := fmt.Fprintf(o.stdout, "\n%s\n", r.Verdict)
	return err
}

// ratio is the median of the pairs' ratios, with the bounds between which it lies where these are not the same.
func ratio(median, low, high float64) string {
	s := fmt.Sprintf("%.2f", median)
	if from, to := fmt.Sprintf("%.2f", low), fmt.Sprintf("%.2f", high); from != to {
		s += fmt.Sprintf(" (%s to %s)", from, to)
	}
	return s
}

// figure is a number to three digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func cpuText(c bench.CPU) string {
	if c.Acquire+c.Writer+c.Analyze == 0 {
		return fmt.Sprintf("%.3f s a GB", c.Rest)
	}
	text := fmt.Sprintf("%.3f s a GB: acquire %.3f, writer %.3f", c.Total(), c.Acquire, c.Writer)
	if c.Analyze > 0 {
		text += fmt.Sprintf(", analyse %.3f", c.Analyze)
	}
	return text + fmt.Sprintf(", the rest %.3f", c.Rest)
}

// memoryText lists the processes whose memory is promised, with whether the promise was kept, and the others.
func memoryText(m bench.Measure) (promised, others string) {
	var with, without []string
	for _, p := range m.Memory {
		if p.LimitBytes == 0 {
			without = append(without, p.Process+" "+monitor.Bytes(p.PeakAnonBytes))
			continue
		}
		with = append(with, fmt.Sprintf("%s %s of %s", p.Process, monitor.Bytes(p.PeakAnonBytes), monitor.Bytes(p.LimitBytes)))
	}
	promised, others = strings.Join(with, ", "), strings.Join(without, ", ")
	switch {
	case m.MemoryKept == nil:
	case *m.MemoryKept:
		promised += ": kept"
	default:
		promised += ": NOT KEPT"
	}
	return promised, others
}

package monitor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sluicedaq/sluice/internal/bus"
)

// gaugeWidth is the width of a gauge in characters.
const gaugeWidth = 30

// Panel is the camera's status at the time now as lines of text, a table of the members among them.
func Panel(s bus.Status, now time.Time) string {
	s = plainStatus(s)
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s", s.Camera, strings.ToUpper(string(s.State)))
	if !s.Since.IsZero() {
		fmt.Fprintf(&b, " for %s", now.Sub(s.Since).Truncate(time.Second))
	}
	if !s.Run.IsZero() {
		fmt.Fprintf(&b, "  run %s", s.Run.Short())
	}
	if s.Geometry != nil {
		fmt.Fprintf(&b, "  %s", s.Geometry)
	}
	if s.Restarts > 0 {
		fmt.Fprintf(&b, "  acquire restarted %d times", s.Restarts)
	}
	b.WriteByte('\n')
	if s.Reason != "" {
		fmt.Fprintf(&b, "  %s\n", s.Reason)
	}
	if s.Run.IsZero() {
		lastRun(&b, s)
	} else {
		counts(&b, s)
	}
	members(&b, s.Members)
	return b.String()
}

// lastRun tells of the run before, when there is none now.
func lastRun(b *strings.Builder, s bus.Status) {
	if l := s.LastRun; l != nil {
		fmt.Fprintf(b, "  last run %s ended by %s: captured %d, written %d, lost %d\n", l.Run.Short(), l.EndedBy, l.Captured, l.Written, l.Lost)
		fmt.Fprintf(b, "  %s\n", l.Store)
	}
}

// counts are the run's frames, rates and budget.
func counts(b *strings.Builder, s bus.Status) {
	if s.Frames > 0 {
		fmt.Fprintf(b, "  frames  %s %d of %d\n", Gauge(float64(s.Captured)/float64(s.Frames)), s.Captured, s.Frames)
	}
	fmt.Fprintf(b, "  captured %d  durable %d  in flight %d  lost %d%s  readable until %d\n",
		s.Captured, s.Durable, s.InFlight, s.Lost, reasons(s.LostByReason), s.ReadableUntilSeq)
	fmt.Fprintf(b, "  rate    %.1f frames/s%s  %s/s  durable %.1f frames/s\n",
		s.Rate.Measured, nominal(s.Rate.Nominal), Bytes(int64(s.Rate.BytesPerSecond)), s.Rate.Durable)
	g := s.Budget
	fmt.Fprintf(b, "  budget  %s %s of %s  %s", Gauge(share(g.Bytes, g.Limit)), Bytes(g.Bytes), Bytes(g.Limit), g.State)
	if g.State != bus.BudgetOpen && g.Holder != "" {
		by := g.Holder
		if g.HolderMember != "" {
			by = g.HolderMember + " of " + by
		}
		fmt.Fprintf(b, " (held by %s)", by)
	}
	if g.SecondsToFull != nil {
		fmt.Fprintf(b, "  full in %.0f s", *g.SecondsToFull)
	}
	fmt.Fprintf(b, "  peak %s", Bytes(g.Peak))
	if g.ThrottledSeconds > 0 || g.PausedSeconds > 0 {
		fmt.Fprintf(b, "  throttled %.1f s  paused %.1f s", g.ThrottledSeconds, g.PausedSeconds)
	}
	b.WriteByte('\n')
}

// members is the table of the members.
func members(b *strings.Builder, list []bus.Member) {
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  MEMBER\tSTATE\tFRAMES\tBUSY\tSTARVED\tBLOCKED\tHELD\tLAG\tSKIPPED\tAGAIN\tRESTARTS\tDISK")
	for _, m := range slices.SortedFunc(slices.Values(list), func(a, b bus.Member) int { return strings.Compare(a.Name, b.Name) }) {
		fmt.Fprintf(t, "  %s\t%s\t%d\t%.0f %%\t%.0f %%\t%.0f %%\t%s\t%s\t%d\t%d\t%d\t%s\n", m.Name, m.State, m.Frames,
			100*m.Busy, 100*m.Starved, 100*m.Blocked, Bytes(m.HeldBytes), span(m.OldestUnreleasedNS), m.Skipped, m.Redelivered, m.Restarts, disk(m.Writer))
	}
	_ = t.Flush() // a strings.Builder takes everything
}

// disk describes a writer's disk.
func disk(w *bus.WriterStatus) string {
	if w == nil {
		return ""
	}
	free := Bytes(int64(min(w.FreeBytes, 1<<62))) + " free"
	switch {
	case w.Direct:
		return fmt.Sprintf("%s, direct, durable p99 %s", free, span(w.DurableP99NS))
	case w.Fallback != "":
		return fmt.Sprintf("%s, buffered (%s), durable p99 %s", free, w.Fallback, span(w.DurableP99NS))
	}
	return free // it has written nothing yet
}

// Line is the status as one line.
func Line(s bus.Status) string {
	s = plainStatus(s)
	if s.Run.IsZero() {
		text := fmt.Sprintf("%s %s", s.Camera, s.State)
		if s.Reason != "" {
			text += ": " + s.Reason
		}
		return text
	}
	return fmt.Sprintf("%s %s: captured %d%s, durable %d, lost %d%s, %.1f frames/s, %s/s, budget %.0f %% of %s %s",
		s.Camera, s.State, s.Captured, of(s.Frames), s.Durable, s.Lost, reasons(s.LostByReason), s.Rate.Measured,
		Bytes(int64(s.Rate.BytesPerSecond)), 100*share(s.Budget.Bytes, s.Budget.Limit), Bytes(s.Budget.Limit), s.Budget.State)
}

// Gauge is a bar that is filled to the given share, 0 to 1, with the percentage behind it.
func Gauge(share float64) string {
	share = min(max(share, 0), 1)
	full := int(share*gaugeWidth + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", gaugeWidth-full) + fmt.Sprintf(" %3.0f %%", 100*share)
}

// Bytes is a number of bytes for people, in binary units.
func Bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func share(n, limit int64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(n) / float64(limit)
}

func of(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", n)
}

func nominal(rate float64) string {
	if rate == 0 {
		return ""
	}
	return fmt.Sprintf(" of %.1f", rate)
}

// span is a time for people.
func span(ns int64) string {
	switch d := time.Duration(ns); {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// reasons lists counts by their names, in brackets.
func reasons(m map[string]uint64) string {
	if len(m) == 0 {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

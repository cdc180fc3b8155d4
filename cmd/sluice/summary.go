package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
)

// describe says in lines what an armed run will be.
func describe(a bus.Armed) []string {
	s := a.Spec
	rate := "as fast as it can"
	if s.FPS > 0 {
		rate = fmt.Sprintf("at %g frames/s", s.FPS)
	}
	codec := s.Codec
	if s.Level > 0 {
		codec = fmt.Sprintf("%s:%d", s.Codec, s.Level)
	}
	lines := []string{
		fmt.Sprintf("run %s: %s %s, budget %s = %d slots (%d in reserve), on full: %s, %d frames a shard, compress %s",
			s.Run.Short(), s.Geometry, rate, monitor.Bytes(a.BudgetBytes), a.Slots, a.Reserve, a.OnFull, s.ShardFrames, codec),
		"store " + a.Store,
	}
	if a.Forecast != nil {
		lines = append(lines, a.Forecast.Text)
	}
	for _, w := range a.Warnings {
		lines = append(lines, "warning: "+w)
	}
	return lines
}

// printSummary tells people how a run ended, where its store is and how to open it.
func printSummary(w io.Writer, s runpkg.Summary) {
	fmt.Fprintf(w, "run %s ended by: %s\n", s.Run.Short(), s.EndedBy)
	fmt.Fprintf(w, "  captured %d, written %d, lost %d%s\n", s.Captured, s.Written, s.Lost, byReason(s.LostByReason))
	fmt.Fprintf(w, "  analyzed %d, skipped by the analysis %d\n", s.Analyzed, s.Skipped)
	perSecond := int64(0)
	if s.Seconds > 0 {
		perSecond = int64(float64(s.Bytes) / s.Seconds)
	}
	fmt.Fprintf(w, "  %s raw, %s stored, in %.2f s (%s/s), the drain %.2f s of it\n",
		monitor.Bytes(int64(s.Bytes)), monitor.Bytes(int64(s.StoredBytes)), s.Seconds, monitor.Bytes(perSecond), s.DrainSeconds)
	fmt.Fprintf(w, "  budget %s, peak %s, throttled %.2f s, paused %.2f s, %d restarts\n",
		monitor.Bytes(s.BudgetBytes), monitor.Bytes(s.PeakBudgetBytes), s.ThrottledSeconds, s.PausedSeconds, s.Restarts)
	if l := s.Latency; l != nil {
		fmt.Fprintf(w, "  from capture to release: p50 %s, p99 %s, p99.9 %s, at most %s\n", span(l.P50NS), span(l.P99NS), span(l.P999NS), span(l.MaxNS))
	}
	printProcesses(w, s)
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", text)
	}
	if s.Store == "" {
		return
	}
	fmt.Fprintf(w, `
store: %[1]s

zarr-python 3:
  import zarr
  image = zarr.open_array(%[2]q, path="0", mode="r")
  state = zarr.open_array(%[2]q, path="frames/state", mode="r")[:]
  good = image.oindex[state == 1]      # a lost frame is an empty plane; state is 1 where the frame is there
dask:
  import dask.array as da
  good = da.from_zarr(%[2]q, component="0")[state == 1]
napari, with the plug-in napari-ome-zarr:
  napari %[3]s
check it:
  sluice verify %[3]s
`, s.Store, s.Store, quote(s.Store))
}

// span is a time in nanoseconds to two digits.
func span(ns int64) string {
	d := time.Duration(ns)
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 100*unit {
			return d.Round(unit).String()
		}
	}
}

// byReason lists counts by their names, in brackets.
func byReason(m map[string]uint64) string {
	if len(m) == 0 {
		return ""
	}
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// quote makes one shell word of s.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printJSON prints v as one line, with &, < and > as they are.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

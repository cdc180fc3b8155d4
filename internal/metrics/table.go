package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The kinds of metrics. A counter counts since the process was started, over all of its runs; what is of the present run
// is a gauge.
const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// metric is a line of the table: every metric also has the labels camera and process. of says its values.
type metric[T any] struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	of     func(T, values)
}

// values takes a metric's values. A metric that says nothing in the present state has none.
type values interface {
	set(v float64, labels ...string)
	histogram(h *run.Histogram)
}

// cameraTable has what acquire says of its camera.
func cameraTable() []metric[camera] {
	return []metric[camera]{
		{"sluice_build_info", gauge, []string{"version"}, "1; the version is a label.", func(c camera, v values) { v.set(1, c.Software) }},
		{"sluice_run_info", gauge, []string{"run"}, "1 while there is a run; its id is a label.", func(c camera, v values) {
			if !c.Run.IsZero() {
				v.set(1, c.Run.String())
			}
		}},
		{"sluice_status_timestamp_seconds", gauge, nil, "When the numbers were gathered, in Unix time.", func(c camera, v values) { v.set(unix(c.at)) }},
		{"sluice_restarts_total", counter, nil, "How often a supervisor has started the process again.", func(c camera, v values) { v.set(float64(c.Restarts)) }},
		{"sluice_goroutines", gauge, nil, "Goroutines of the process.", func(c camera, v values) { v.set(float64(c.Goroutines)) }},
		{"sluice_refused_total", counter, []string{"kind"}, "What the process did not take of what others sent.", func(c camera, v values) { refused(c.Refused, v) }},

		{"sluice_camera_state", gauge, []string{"state"}, "1 for the state that the camera is in, 0 for the others.", func(c camera, v values) { oneOf(v, c.State, bus.States()) }},
		{"sluice_camera_state_timestamp_seconds", gauge, nil, "Since when the camera is in its state, in Unix time.", func(c camera, v values) { v.set(unix(c.Since)) }},
		{"sluice_events_total", counter, []string{"kind"}, "Events of the camera.", func(c camera, v values) {
			for _, k := range bus.Kinds() {
				v.set(float64(c.Events[k]), string(k))
			}
		}},

		{"sluice_frames_captured_total", counter, nil, "Frames that the camera produced, lost ones included.", func(c camera, v values) { v.set(float64(c.all.captured)) }},
		{"sluice_frames_durable_total", counter, nil, "Frames that are durable.", func(c camera, v values) { v.set(float64(c.all.durable)) }},
		{"sluice_frames_lost_total", counter, []string{"reason"}, "Frames that are in the ledger of losses.", func(c camera, v values) {
			for _, r := range reasons() {
				v.set(float64(c.all.lost[r]), r)
			}
		}},
		{"sluice_frames_analyzed_total", counter, nil, "Frames that the analysers have released.", func(c camera, v values) { v.set(float64(c.all.analyzed)) }},
		{"sluice_frames_skipped_total", counter, nil, "Frames that the analysers were not given.", func(c camera, v values) { v.set(float64(c.all.skipped)) }},
		{"sluice_frame_latency_seconds", gauge, nil, "From a frame's capture to its last lossless release.", func(c camera, v values) { v.histogram(c.Times) }},

		{"sluice_run_captured_frames", gauge, nil, "Frames that the camera produced in this run.", inRun(func(c camera) float64 { return float64(c.Captured) })},
		{"sluice_run_durable_frames", gauge, nil, "Frames of this run that are durable.", inRun(func(c camera) float64 { return float64(c.Durable) })},
		{"sluice_run_in_flight_frames", gauge, nil, "Frames of this run that are neither durable nor in the ledger.", inRun(func(c camera) float64 { return float64(c.InFlight) })},
		{"sluice_run_lost_frames", gauge, nil, "Frames of this run that are in the ledger.", inRun(func(c camera) float64 { return float64(c.Lost) })},
		{"sluice_run_readable_frames", gauge, nil, "Up to which frame a reader finds the store of this run complete.", inRun(func(c camera) float64 { return float64(c.ReadableUntilSeq) })},
		{"sluice_run_analysis_coverage_ratio", gauge, nil, "Frames that the analysers have released, of those captured in this run.", func(c camera, v values) {
			if c.Captured > 0 {
				v.set(float64(c.Analyzed) / float64(c.Captured))
			}
		}},
		{"sluice_run_frame_bytes", gauge, nil, "Bytes of pixels in a frame of this run.", func(c camera, v values) {
			if c.Geometry != nil {
				v.set(float64(c.Geometry.FrameBytes()))
			}
		}},
		{"sluice_run_nominal_frames_per_second", gauge, nil, "The camera's nominal rate in this run, 0 where it has none.", inRun(func(c camera) float64 { return c.Rate.Nominal })},
		{"sluice_run_measured_frames_per_second", gauge, nil, "Frames captured in the second before.", inRun(func(c camera) float64 { return c.Rate.Measured })},

		{"sluice_budget_used_bytes", gauge, nil, "Bytes of the budget that are in use, the analysers' reserve included.", inRun(func(c camera) float64 { return float64(c.Budget.Bytes) })},
		{"sluice_budget_limit_bytes", gauge, nil, "The budget of this run.", inRun(func(c camera) float64 { return float64(c.Budget.Limit) })},
		{"sluice_budget_peak_bytes", gauge, nil, "The most of the budget that was in use in this run.", inRun(func(c camera) float64 { return float64(c.Budget.Peak) })},
		{"sluice_budget_state", gauge, []string{"state"}, "1 for the state that the budget is in, 0 for the others.", func(c camera, v values) {
			if !c.Run.IsZero() {
				oneOf(v, c.Budget.State, bus.BudgetStates())
			}
		}},
		{"sluice_budget_throttled_seconds_total", counter, nil, "For how long budgets were above their high watermark, or full.", func(c camera, v values) { v.set(c.all.throttled) }},
		{"sluice_budget_paused_seconds_total", counter, nil, "For how long cameras were paused.", func(c camera, v values) { v.set(c.all.paused) }},
		{"sluice_budget_time_to_full_seconds", gauge, nil, "When the budget will be full at the present rates; absent where it will not.", func(c camera, v values) {
			if left := c.Budget.SecondsToFull; left != nil {
				v.set(*left)
			}
		}},

		{"sluice_members", gauge, []string{"group"}, "Processes that have joined.", func(c camera, v values) {
			for _, group := range []string{"writer", "analyze"} {
				n := 0
				for _, m := range c.Members {
					if m.Group == group {
						n++
					}
				}
				v.set(float64(n), group)
			}
		}},
		{"sluice_member_state", gauge, []string{"member", "group", "state"}, "1 for the state that acquire sees a member in, 0 for the others.", func(c camera, v values) {
			for _, m := range c.Members {
				oneOf(v, m.State, bus.MemberStates(), m.Name, m.Group)
			}
		}},
		{"sluice_member_held_bytes", gauge, member(), "Bytes of frames in a member's hands.", each(func(m bus.Member) float64 { return float64(m.HeldBytes) })},
		{"sluice_member_held_frames", gauge, member(), "Frames in a member's hands.", each(func(m bus.Member) float64 { return float64(m.HeldFrames) })},
		{"sluice_member_lag_seconds", gauge, member(), "The age of the oldest frame in a member's hands.", each(func(m bus.Member) float64 { return seconds(m.OldestUnreleasedNS) })},
		{"sluice_member_redelivered_total", counter, member(), "Frames that a member got after another had had them.", each(func(m bus.Member) float64 { return float64(m.Redelivered) })},
		{"sluice_member_restarts_total", counter, member(), "How often a member's process was replaced.", each(func(m bus.Member) float64 { return float64(m.Restarts) })},
		{"sluice_member_buffer_bytes", gauge, member(), "Memory that a member said it takes for this run.", each(func(m bus.Member) float64 { return float64(m.BufferBytes) })},
	}
}

// memberTable has what writers and analysers say of themselves. The names that both tables have mean the same.
func memberTable() []metric[worker] {
	return []metric[worker]{
		{"sluice_build_info", gauge, []string{"version"}, "1; the version is a label.", func(w worker, v values) { v.set(1, w.Software) }},
		{"sluice_run_info", gauge, []string{"run"}, "1 while there is a run; its id is a label.", func(w worker, v values) {
			if !w.Run.IsZero() {
				v.set(1, w.Run.String())
			}
		}},
		{"sluice_status_timestamp_seconds", gauge, nil, "When the numbers were gathered, in Unix time.", func(w worker, v values) { v.set(unix(w.at)) }},
		{"sluice_restarts_total", counter, nil, "How often a supervisor has started the process again.", func(w worker, v values) { v.set(float64(w.Restarts)) }},
		{"sluice_goroutines", gauge, nil, "Goroutines of the process.", func(w worker, v values) { v.set(float64(w.Goroutines)) }},
		{"sluice_refused_total", counter, []string{"kind"}, "What the process did not take of what others sent.", func(w worker, v values) { refused(w.Refused, v) }},

		{"sluice_joined", gauge, group(), "Whether acquire has the process as a member.", mine(func(w worker) float64 { return truth(w.Joined) })},
		{"sluice_anonymous_memory_bytes", gauge, group(), "Memory of the process that is neither a file's nor shared.", mine(func(w worker) float64 { return float64(w.RSSBytes) })},
		{"sluice_work_frames_total", counter, group(), "Frames that the process has done.", mine(func(w worker) float64 { return float64(w.all.frames) })},
		{"sluice_work_bytes_total", counter, group(), "Bytes of pixels that the process has done.", mine(func(w worker) float64 { return float64(w.all.bytes) })},
		{"sluice_work_busy_ratio", gauge, group(), "The share of the last second in which it computed.", mine(func(w worker) float64 { return w.Busy })},
		{"sluice_work_starved_ratio", gauge, group(), "The share of the last second in which it waited for frames.", mine(func(w worker) float64 { return w.Starved })},
		{"sluice_work_blocked_ratio", gauge, group(), "The share of the last second in which it waited for the disk.", mine(func(w worker) float64 { return w.Blocked })},

		{"sluice_writer_durable_latency_seconds", gauge, nil, "From a frame's capture until it is durable.", func(w worker, v values) { v.histogram(w.DurableTimes) }},
		{"sluice_writer_sync_seconds", gauge, nil, "How long the disk takes to confirm what was written.", func(w worker, v values) { v.histogram(w.SyncTimes) }},
		{"sluice_writer_sync_timestamp_seconds", gauge, nil, "When the disk confirmed something last, in Unix time.", func(w worker, v values) {
			if w.LastSync != nil {
				v.set(unix(*w.LastSync))
			}
		}},
		{"sluice_writer_disk_free_bytes", gauge, nil, "Free space where the store of this run lies.", disk(func(d bus.WriterStatus) float64 { return float64(d.FreeBytes) })},
		{"sluice_writer_direct", gauge, nil, "1 where frames go to the disk past the page cache.", disk(func(d bus.WriterStatus) float64 { return truth(d.Direct) })},
		{"sluice_writer_stored_bytes_total", counter, nil, "Bytes that the writer has stored.", func(w worker, v values) {
			if w.Group == "writer" {
				v.set(float64(w.all.stored))
			}
		}},
	}
}

// member and group are labels.
func member() []string { return []string{"member", "group"} }
func group() []string  { return []string{"group"} }

// inRun is a value that there is while there is a run.
func inRun(f func(camera) float64) func(camera, values) {
	return func(c camera, v values) {
		if !c.Run.IsZero() {
			v.set(f(c))
		}
	}
}

// each is a value of every member.
func each(f func(bus.Member) float64) func(camera, values) {
	return func(c camera, v values) {
		for _, m := range c.Members {
			v.set(f(m), m.Name, m.Group)
		}
	}
}

// mine is a value that every member has of itself.
func mine(f func(worker) float64) func(worker, values) {
	return func(w worker, v values) { v.set(f(w), w.Group) }
}

// disk is a value of a writer that has a store.
func disk(f func(bus.WriterStatus) float64) func(worker, values) {
	return func(w worker, v values) {
		if w.Writer != nil {
			v.set(f(*w.Writer))
		}
	}
}

// oneOf sets 1 for the state that is and 0 for the others. The state is the last label.
func oneOf[S ~string](v values, is S, all []S, labels ...string) {
	for _, s := range all {
		v.set(truth(s == is), append(labels[:len(labels):len(labels)], string(s))...)
	}
}

func refused(counts map[refusal.Kind]uint64, v values) {
	for _, k := range refusal.Kinds() {
		v.set(float64(counts[k]), string(k))
	}
}

// reasons are why frames are lost.
func reasons() (list []string) {
	for s := frames.Durable + 1; s.Lost(); s++ {
		list = append(list, s.String())
	}
	return list
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(ns int64) float64 { return time.Duration(ns).Seconds() }

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

package run

// Latency says how long frames took from their capture until the last lossless group let them go, in nanoseconds.
type Latency struct {
	// Frames is how many it is of: those that were released as kept since acquire was started last, so that after a
	// restart it is less than the run's. Those that it found in the slab are among them, with the time that it was away.
	Frames uint64 `json:"frames"`
	P50NS  int64  `json:"p50_ns,string"`
	P99NS  int64  `json:"p99_ns,string"`
	P999NS int64  `json:"p999_ns,string"`
	MaxNS  int64  `json:"max_ns,string"`
}

// Process is what one process of a run used, over all of its lives.
type Process struct {
	Name string `json:"name"` // "acquire", a member's name, "broker", or "run" for `sluice run` itself
	// UserSeconds and SystemSeconds are processor time.
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`
	// PeakAnonBytes is the most anonymous memory (RssAnon) that was seen; it is looked at many times a second.
	PeakAnonBytes int64 `json:"peak_anon_bytes"`
	// LimitBytes is what guarantee 1 promises of it, with the buffers that a member states for the run; 0 where nothing is
	// promised.
	LimitBytes int64 `json:"limit_bytes,omitempty"`
}

// CPUSeconds is the processor time, of user and system together.
func (p Process) CPUSeconds() float64 { return p.UserSeconds + p.SystemSeconds }

// Kept reports whether the process stayed within what is promised of it.
func (p Process) Kept() bool { return p.LimitBytes == 0 || p.PeakAnonBytes <= p.LimitBytes }

// The memory that guarantee 1 promises beyond the slab, in bytes.
const (
	AcquireLimit = 64 << 20
	MemberLimit  = 128 << 20 // and what the member states
)

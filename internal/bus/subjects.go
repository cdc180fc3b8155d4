package bus

// Every subject begins with this token.
const root = "sluice."

// Verb is the last token of a control subject.
type Verb string

// The verbs.
const (
	VerbArm    Verb = "arm"
	VerbStart  Verb = "start"
	VerbStop   Verb = "stop"
	VerbPause  Verb = "pause"
	VerbResume Verb = "resume"
	VerbStatus Verb = "status"
)

// Verbs are all verbs.
func Verbs() []Verb {
	return []Verb{VerbArm, VerbStart, VerbStop, VerbPause, VerbResume, VerbStatus}
}

// ControlSubject is where acquire answers requests.
func ControlSubject(camera string, v Verb) string { return root + camera + ".control." + string(v) }

// StatusSubject has Status messages of acquire and MemberStatus messages of the members, one a second each.
func StatusSubject(camera string) string { return root + camera + ".status" }

// BackpressureSubject has a Backpressure message for each transition of the budget.
func BackpressureSubject(camera string) string { return root + camera + ".backpressure" }

// EventsSubject has Event messages.
func EventsSubject(camera string) string { return root + camera + ".events" }

// SpatialSubject has the spatial spectra.
func SpatialSubject(camera string) string { return root + camera + ".spectrum.spatial" }

// TemporalSubject has the temporal spectra.
func TemporalSubject(camera string) string { return root + camera + ".spectrum.temporal" }

// PreviewSubject has preview images.
func PreviewSubject(camera string) string { return root + camera + ".preview" }

// LinkPrefix is what the link's subjects begin with: docs/link.md has the rest.
func LinkPrefix(camera string) string { return root + camera + ".link." }

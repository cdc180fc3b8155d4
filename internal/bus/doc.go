// Package bus is what Sluice's processes say to each other and to the world over NATS, but for the link:
// the subjects, the JSON messages on them, the connection, and the control service that acquire answers.
//
// docs/subjects.md is this package's contract with others; a test decodes its examples into these types.
// Core NATS delivers at most once, so nothing here may be needed for a run to be complete: status repeats,
// events are numbered, and a controller polls.
package bus

package jetstream

import "strings"

// names are what the streams and subjects of one camera are called; base is the camera's own subject, "sluice.cam0".
type names struct{ base string }

// stream is the name of the camera's stream.
func (n names) stream() string { return strings.ReplaceAll(n.base, ".", "_") }

// all are the subjects of the stream.
func (n names) all() string { return n.base + ".link.stream.*" }

// stored is the subject of a lossless member's pixels, which the stream keeps.
func (n names) stored(member string) string { return n.base + ".link.stream." + member }

// plain is the subject of a latest member's pixels, and of frames that are not there any more.
func (n names) plain(member string) string { return n.base + ".link.plain." + member }

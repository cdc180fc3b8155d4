package analysis

// What the tests of the messages make messages with.
var (
	NewTemporal = newTemporal
	NewSpatial  = newSpatial
)

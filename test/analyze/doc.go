// Package analyze has the tests of the real analyser's memory and speed: frames come from a slab that the test fills, over
// the real link, as fast as the analyser gives them back.
package analyze

// Package soak_test runs the real programs for as long as it is told to, with a slow consumer coming and going all the
// time, and holds the memory, files, goroutines and processor time of every process against what they were in the
// beginning. `make soak` takes an hour, `make test` some seconds.
package soak_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin))
}

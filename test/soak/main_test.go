// Package soak_test runs the real programs for as long as it is told to, with a slow consumer coming and going all the
// time, and holds the memory, files, goroutines and processor time of every process against what they were in the
// beginning. `make soak` takes an hour, `make test` some seconds.
package soak_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = programs.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

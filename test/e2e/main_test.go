// Package e2e_test runs the real programs against each other: the broker, acquire, writers and analysers as `sluice
// run` starts them, with a store on the real disk.
package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	// Most tests wait for a camera that makes so many frames a second: more of them than processors may run.
	err := flag.Set("test.parallel", "4")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(programs.Main(m, &bin))
}

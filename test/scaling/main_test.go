// Package scaling_test runs the real programs while members join, leave and die in mid-run, and looks who does the work.
package scaling_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin))
}

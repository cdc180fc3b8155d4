// Package isolation_test holds the run against members that do not behave: analysers that are stopped or slow must cost
// the writers nothing, and no member that comes, goes, keeps or confuses its frames may cost the run a frame.
package isolation_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin))
}

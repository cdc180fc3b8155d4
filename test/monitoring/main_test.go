// Package monitoring_test scrapes the real programs, and holds what they show against what they say on NATS and against
// what the dashboard and the alerts under deploy/ ask for.
package monitoring_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) { os.Exit(programs.Main(m, &bin)) }

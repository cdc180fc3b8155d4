// Package doors_test holds deploy/nats.conf against a real broker and the real programs: what each role may do works, and
// what it may not is refused.
package doors_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) { os.Exit(programs.Main(m, &bin)) }

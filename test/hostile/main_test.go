// Package hostile_test lets a peer that says what it must not loose on the real programs, and on their data.
package hostile_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin))
}

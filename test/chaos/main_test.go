// Package chaos_test runs the real programs while processes and the broker are killed and stopped at random, and proves
// after each run from the disk that nothing was lost that need not be. See `make chaos`.
package chaos_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	if text := os.Getenv(brokerVar); text != "" { // this process is a server of a round's broker
		os.Exit(serveBroker(text))
	}
	os.Exit(programs.Main(m, &bin))
}

// Package chaos_test runs the real programs while processes and the broker are killed and stopped at random, and proves
// after each run from the disk that nothing was lost that need not be. See `make chaos`.
package chaos_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	if address := os.Getenv(brokerVar); address != "" { // this process is a round's broker
		os.Exit(serveBroker(address))
	}
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

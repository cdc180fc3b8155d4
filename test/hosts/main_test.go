// Package hosts_test runs the real programs on what is to them two hosts: members that have another /dev/shm, and another
// network. It takes root, as every test that mounts.
package hosts_test

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	os.Exit(programs.Main(m, &bin))
}

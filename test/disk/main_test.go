// Package disk_test runs the real programs on disks that fail: a writer whose operations the test has fail, and real
// file systems that are full, read-only, slow to have no direct access, or gone.
package disk_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/test/programs"
)

// bin are the real programs, failing the same with a writer whose disk fails.
var bin, failing *programs.Programs

func TestMain(m *testing.M) {
	code, err := all(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func all(m *testing.M) (code int, err error) {
	// Most tests wait for a camera that makes so many frames a second: more of them than processors may run.
	if err := flag.Set("test.parallel", "4"); err != nil {
		return 1, err
	}
	if bin, err = programs.Build(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, bin.Remove()) }()
	if failing, err = bin.With("writer", "github.com/sluicedaq/sluice/test/disk/writer"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, failing.Remove()) }()
	return m.Run(), goleak.Find()
}

package programs

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main builds the programs for a package's tests, runs these, removes the programs and looks for goroutines that are left.
// It returns the exit code.
func Main(m *testing.M, bin **Programs) (code int) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	built, err := Build()
	if err != nil {
		fail(err)
		return code
	}
	*bin = built
	code = m.Run()
	fail(built.Remove())
	if code == 0 { // a test that failed may leave some
		fail(goleak.Find())
	}
	return code
}

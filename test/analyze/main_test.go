package analyze

import (
	"os"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) { os.Exit(programs.Main(m, &bin)) }

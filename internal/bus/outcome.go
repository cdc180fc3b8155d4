package bus

import (
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
)

// ExitCode is the exit code of a process whose run ended as s tells.
func ExitCode(s run.Summary) int {
	switch {
	case s.EndedBy == run.EndedHard:
		return exit.Interrupted
	case s.EndedBy == run.EndedDiskFull:
		return exit.DiskFull
	case s.Written+s.Lost != s.Captured:
		return exit.Damaged
	case s.EndedBy == run.EndedWriter || s.EndedBy == run.EndedInterrupted:
		return exit.Unavailable
	case s.Lost > 0:
		return exit.Lost
	case s.EndedBy == run.EndedFull || s.EndedBy == run.EndedCamera || s.EndedBy == run.EndedStalled:
		return exit.EndedEarly
	}
	return exit.OK
}

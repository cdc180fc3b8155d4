//go:build !fftw

package analyze

import (
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// foreign is there with the build tag fftw.
func foreign(*testing.B, frames.Geometry) func() { return nil }

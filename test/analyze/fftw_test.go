//go:build fftw

package analyze

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/fft/fftw"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// foreign is one transform of such a frame by FFTW's measured plan on one thread. Its planes stay in the caches that they
// fit into, which the analyser's frames do not.
func foreign(b *testing.B, g frames.Geometry) func() {
	b.Helper()
	p, err := fftw.New(g.Height, g.Width)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	for i := range p.In {
		p.In[i] = float32(i * i % 1000)
	}
	return p.Execute
}

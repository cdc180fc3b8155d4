//go:build fftw

package fft

import (
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/internal/fft/fftw"
)

// BenchmarkAgainstFFTW is the speed in units of FFTW's measured plan on one thread.
func BenchmarkAgainstFFTW(b *testing.B) {
	for _, kind := range []string{"coefficients", "columns"} {
		for _, size := range sizes() {
			b.Run(fmt.Sprintf("%s/%dx%d", kind, size[0], size[1]), func(b *testing.B) {
				other, err := fftw.New(size[0], size[1])
				if err != nil {
					b.Fatal(err)
				}
				defer other.Close()
				copy(other.In, noise(size[0]*size[1], 1))
				compareTo(b, own(b, fastest(), kind, size[0], size[1]), other.Execute)
			})
		}
	}
}

// TestAgreesWithFFTW makes sure that the yardstick measures the same.
func TestAgreesWithFFTW(t *testing.T) {
	const rows, cols = 120, 128
	other, err := fftw.New(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	x := noise(rows*cols, 1)
	copy(other.In, x)
	other.Execute()
	compare(t, "FFTW", forward(t, fastest(), Config{Rows: rows, Cols: cols}, x), widenC(other.Out))
}

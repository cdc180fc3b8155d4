package spectrum

import (
	"fmt"
	"math"
)

// Window weighs the samples before a transform.
type Window string

// The windows.
const (
	// WindowNone leaves the samples as they are.
	WindowNone Window = "none"
	// WindowHann is w[j] = (1 − cos(2πj/n)) / 2, the periodic form that scipy.signal calls sym=False. In two
	// dimensions it is the product of one along y and one along x.
	WindowHann Window = "hann"
)

// Validate returns an error wrapping ErrConfig unless w is a window.
func (w Window) Validate() error {
	if w != WindowNone && w != WindowHann {
		return fmt.Errorf("%w: window %q is neither %s nor %s", ErrConfig, string(w), WindowNone, WindowHann)
	}
	return nil
}

// weights are the window's n values. A Hann window of fewer than 3 values would leave nothing of the
// samples, so it is 1 there.
func (w Window) weights(n int) []float64 {
	ws := make([]float64, n)
	for j := range ws {
		ws[j] = 1
		if w == WindowHann && n > 2 {
			ws[j] = (1 - math.Cos(2*math.Pi*float64(j)/float64(n))) / 2
		}
	}
	return ws
}

// ends are the transform of the window at 0 and at ±1: real, and zero elsewhere.
func (w Window) ends(ws []float64) (ends [2]float64) {
	ends[0], _ = sums(ws)
	if w == WindowHann && len(ws) > 2 {
		ends[1] = -ends[0] / 2
	}
	return ends
}

// sums are Σw and Σw².
func sums(ws []float64) (sum, squares float64) {
	for _, w := range ws {
		sum += w
		squares += w * w
	}
	return sum, squares
}

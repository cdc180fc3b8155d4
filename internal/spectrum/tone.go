package spectrum

import "math"

// roundingAmplitude is the part of a series' mean below which an oscillation is taken for rounding.
const roundingAmplitude = 1e-9

// Tone is the strongest oscillation of a series.
type Tone struct {
	// Found is not set when the series is constant up to rounding; the rest is 0 then.
	Found bool
	// Hz is its frequency, interpolated between the bins.
	Hz float64
	// Amplitude is a of the wave a·cos(2π·Hz·t + φ), counts.
	Amplitude float64
}

// findTone looks for the largest bin above frequency zero of a density made with a Hann window.
//
// The frequency: of one sinusoid, δ bins off the largest bin, the window's transform makes the magnitudes of
// the bins before, at and after it A₋, A₀, A₊ with A₊/A₀ = (1+δ)/(2−δ) and A₋/A₀ = (1−δ)/(2+δ), whence
// δ = 2(A₊−A₋)/(A₋+2A₀+A₊) exactly (T. Grandke, "Interpolation algorithms for discrete Fourier transforms of
// weighted signals", IEEE Trans. Instrum. Meas. 32 (1983), for two of the three bins).
//
// The amplitude: by Parseval a wave's energy a²/2 is the integral of its density, of which the main lobe
// holds all but 0.05 %, wherever between two bins the frequency lies: a = √(2·BinHz·Σ PSD) over the largest
// bin and two on either side. Noise inside the lobe counts too. Within two bins of zero or of half the
// sample rate the wave's mirror image falls into the lobe and the figure is an estimate only.
func findTone(psd []float64, binHz, mean float64) Tone {
	k := 0
	for i := 1; i < len(psd); i++ {
		if k == 0 || psd[i] > psd[k] {
			k = i
		}
	}
	if k == 0 {
		return Tone{}
	}
	energy := 0.0
	for i := max(1, k-2); i <= min(k+2, len(psd)-1); i++ {
		energy += psd[i]
	}
	a := math.Sqrt(2 * binHz * energy)
	if a <= roundingAmplitude*math.Abs(mean) || a == 0 {
		return Tone{}
	}
	return Tone{Found: true, Hz: (float64(k) + offset(psd, k)) * binHz, Amplitude: a}
}

// offset is δ of findTone, within half a bin.
func offset(psd []float64, k int) float64 {
	if k == 1 || k == len(psd)-1 {
		return 0 // a neighbour is missing or holds what the detrending left
	}
	before, at, after := math.Sqrt(psd[k-1]), math.Sqrt(psd[k]), math.Sqrt(psd[k+1])
	return max(-0.5, min(0.5, 2*(after-before)/(before+2*at+after)))
}

package fft

import "golang.org/x/sys/cpu"

// fastest are the inner loops that suit the processor.
func fastest() *kernels {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return portable()
	}
	return &kernels{
		costs: [17]float64{
			2: 0.95, 3: 1.05, 4: 1.25, 5: 1.2, 6: 1.25, 7: 1.5, 8: 1.25, 9: 1.6, 10: 1.6, 11: 3.1, 12: 1.5, 13: 3.4,
			15: 2, 16: 1.75,
		},
		passes: [17]pass{
			2: pass2AVX2, 3: pass3AVX2, 4: pass4AVX2, 5: pass5AVX2, 6: pass6AVX2, 7: pass7AVX2, 8: pass8AVX2, 9: pass9AVX2,
			10: pass10AVX2, 11: pass11AVX2, 12: pass12AVX2, 13: pass13AVX2, 15: pass15AVX2, 16: pass16AVX2,
		},
		lasts: [17]pass{
			2: last2AVX2, 3: last3AVX2, 4: last4AVX2, 5: last5AVX2, 6: last6AVX2, 7: last7AVX2, 8: last8AVX2, 9: last9AVX2,
			10: last10AVX2, 11: last11AVX2, 12: last12AVX2, 13: last13AVX2, 15: last15AVX2, 16: last16AVX2,
		},
		product: productAVX2, conjugate: conjugateAVX2,
		load8: load8AVX2, load16: load16AVX2, loadFloat: loadFloatAVX2,
		untangle: untangleAVX2, scatter: scatterAVX2, interleave: interleaveAVX2,
	}
}

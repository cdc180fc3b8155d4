//go:build !amd64

package fft

// fastest are the inner loops that suit the processor.
func fastest() *kernels { return portable() }

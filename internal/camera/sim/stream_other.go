//go:build !amd64

package sim

// streamCopy copies src to dst, which is as long.
func streamCopy(dst, src []byte) { copy(dst, src) }

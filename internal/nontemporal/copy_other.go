//go:build !amd64

package nontemporal

// Copy copies src to dst, which is as long.
func Copy(dst, src []byte) { copy(dst, src) }

//go:build !amd64

package crc32c

// blocks is how many of n bytes update takes.
func blocks(int) int { return 0 }

func update(crc uint32, _ []byte) uint32 { return crc }

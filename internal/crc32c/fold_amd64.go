package crc32c

import (
	"hash/crc32"

	"golang.org/x/sys/cpu"
)

const (
	foldBytes = 256  // what fold takes in one step
	leastFold = 1024 // below, hash/crc32 is as fast
	page      = 4096 // hash/crc32 takes so much at a time while the next is fetched
)

// factors are those of a fold over distances of 256, 64 and 16 bytes: for a distance of n bits x^(n+32) and x^(n-32)
// modulo the polynomial 0x11edc6f41, with their bits in reverse order and shifted by one (V. Gopal et al., "Fast CRC
// Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009).
var factors = [6]uint64{
	0xdcb17aa4, 0xb9e02b86,
	0x740eef02, 0x9e4addf8,
	0xf20c0dfe, 0x14cd00bd6,
}

func vector() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VPCLMULQDQ && cpu.X86.HasSSE42
}

// blocks is how many of n bytes update takes.
func blocks(n int) int {
	if n < leastFold {
		return 0
	}
	return n &^ (foldBytes - 1)
}

func update(crc uint32, b []byte) uint32 {
	if vector() {
		return ^fold(^crc, &b[0], len(b), &factors)
	}
	return updateAhead(crc, b)
}

// updateAhead has memory fetched before it is needed.
func updateAhead(crc uint32, b []byte) uint32 {
	for len(b) > page {
		prefetch(&b[page], min(page, len(b)-page))
		crc = crc32.Update(crc, table, b[:page])
		b = b[page:]
	}
	return crc32.Update(crc, table, b)
}

// fold updates the inverted checksum with n bytes, a multiple of 256 and at least 512.
//
//go:noescape
func fold(crc uint32, p *byte, n int, factors *[6]uint64) uint32

// prefetch has the n bytes at p brought into the cache.
//
//go:noescape
func prefetch(p *byte, n int)

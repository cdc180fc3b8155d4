package crc32c

import (
	"hash/crc32"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

const (
	foldBytes = 256  // what a fold takes in one step
	leastFold = 1024 // below, hash/crc32 is as fast
	page      = 4096 // hash/crc32 takes so much at a time while the next is fetched
)

// factors are those of a fold over distances of 256, 64, 32 and 16 bytes: for a distance of n bits x^(n+32) and x^(n-32)
// modulo the polynomial 0x11edc6f41, with their bits in reverse order and shifted by one (V. Gopal et al., "Fast CRC
// Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009).
var factors = [8]uint64{
	0xdcb17aa4, 0xb9e02b86,
	0x740eef02, 0x9e4addf8,
	0x1384aa63a, 0xba4fc28e,
	0xf20c0dfe, 0x14cd00bd6,
}

// The processor's widest registers that multiply polynomials: of 512 bits, or of 256 (AMD Zen 3, Intel Alder Lake and
// others without AVX-512; golang.org/x/sys/cpu knows VPCLMULQDQ only together with it).
var (
	has512 = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512VL, cpuid.VPCLMULQDQ, cpuid.SSE42)
	has256 = cpuid.CPU.Supports(cpuid.AVX2, cpuid.VPCLMULQDQ, cpuid.SSE42)
)

// blocks is how many of n bytes update takes.
func blocks(n int) int {
	if n < leastFold {
		return 0
	}
	return n &^ (foldBytes - 1)
}

func update(crc uint32, b []byte) uint32 {
	switch {
	case has512:
		return ^fold512(^crc, &b[0], len(b), &factors)
	case has256:
		return ^fold256(^crc, &b[0], len(b), &factors)
	}
	return updateAhead(crc, b)
}

// line is the alignment of what is written past the cache: whole lines of it.
const line = 64

// fusable says where in dst copyUpdate may begin, and how many bytes it takes, 0 where the processor can't do it.
func fusable(dst []byte) (head, n int) {
	if len(dst) < leastFold+line || !has256 {
		return 0, 0
	}
	head = int(-uintptr(unsafe.Pointer(unsafe.SliceData(dst))) % line)
	return head, (len(dst) - head) &^ (foldBytes - 1)
}

// copyUpdate is update of src, which it copies to dst: as much as fusable has allowed.
func copyUpdate(crc uint32, dst, src []byte) uint32 {
	return ^copy256(^crc, &dst[0], &src[0], len(dst), &factors)
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

// fold512 updates the inverted checksum with n bytes, a multiple of 256 and at least 512, in registers of 512 bits.
//
//go:noescape
func fold512(crc uint32, p *byte, n int, factors *[8]uint64) uint32

// fold256 does the same in registers of 256 bits.
//
//go:noescape
func fold256(crc uint32, p *byte, n int, factors *[8]uint64) uint32

// copy256 is fold256 that copies the bytes past the processor's cache as it goes, to memory that begins at a multiple of
// line.
//
//go:noescape
func copy256(crc uint32, dst, src *byte, n int, factors *[8]uint64) uint32

// prefetch has the n bytes at p brought into the cache.
//
//go:noescape
func prefetch(p *byte, n int)

package sim

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// streamStep is what stream writes in one step, two lines of the cache.
const streamStep = 128

// streamCopy copies src to dst, which is as long, past the processor's cache. Memory that nobody reads soon is written so
// without being read before, which ordinary stores do, line by line.
func streamCopy(dst, src []byte) {
	head := int(-uintptr(unsafe.Pointer(unsafe.SliceData(dst))) % streamStep)
	if n := (len(dst) - head) &^ (streamStep - 1); cpu.X86.HasAVX && n > 0 {
		copy(dst[:head], src)
		stream(&dst[head], &src[head], n)
		dst, src = dst[head+n:], src[head+n:]
	}
	copy(dst, src)
}

// stream copies n bytes, a multiple of streamStep, to memory that begins at a multiple of it.
//
//go:noescape
func stream(dst, src *byte, n int)

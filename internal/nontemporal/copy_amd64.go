package nontemporal

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// step is what stream writes in one step, two lines of the cache.
const step = 128

// Copy copies src to dst, which is as long.
func Copy(dst, src []byte) {
	src = src[:len(dst)]
	head := int(-uintptr(unsafe.Pointer(unsafe.SliceData(dst))) % step)
	if n := (len(dst) - head) &^ (step - 1); cpu.X86.HasAVX && n > 0 {
		copy(dst[:head], src)
		stream(&dst[head], &src[head], n)
		dst, src = dst[head+n:], src[head+n:]
	}
	copy(dst, src)
}

// stream copies n bytes, a multiple of step, to memory that begins at a multiple of it.
//
//go:noescape
func stream(dst, src *byte, n int)

package vfs

import "unsafe"

// Alloc returns n zero bytes of memory that direct access can use: the address is a multiple of [Block].
func Alloc(n int) []byte {
	b := make([]byte, n+Block)
	skip := 0
	if rem := address(b) % Block; rem != 0 {
		skip = int(Block - rem)
	}
	return b[skip : skip+n : skip+n]
}

// Aligned reports whether b begins at an address that direct access can use. An empty b does.
func Aligned(b []byte) bool { return len(b) == 0 || address(b)%Block == 0 }

// Pad rounds n up to a multiple of [Block].
func Pad(n int64) int64 { return (n + Block - 1) &^ (Block - 1) }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

package blosc

import "golang.org/x/sys/cpu"

// shuffleBlocks shuffles as much as goes in whole blocks, and returns how many elements it has done.
func shuffleBlocks(low, high, src []byte) int {
	if !cpu.X86.HasAVX2 {
		return shuffleWords(low, high, src)
	}
	n := len(low) &^ 31
	if n > 0 {
		shuffleAVX2(&low[0], &high[0], &src[0], n)
	}
	return n
}

// unshuffleBlocks undoes [shuffleBlocks].
func unshuffleBlocks(dst, low, high []byte) int {
	if !cpu.X86.HasAVX2 {
		return unshuffleWords(dst, low, high)
	}
	n := len(low) &^ 31
	if n > 0 {
		unshuffleAVX2(&dst[0], &low[0], &high[0], n)
	}
	return n
}

// shuffleAVX2 shuffles n elements, a multiple of 32 and at least 32.
//
//go:noescape
func shuffleAVX2(low, high, src *byte, n int)

// unshuffleAVX2 undoes it.
//
//go:noescape
func unshuffleAVX2(dst, low, high *byte, n int)

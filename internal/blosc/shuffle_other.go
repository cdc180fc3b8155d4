//go:build !amd64

package blosc

func shuffleBlocks(low, high, src []byte) int { return shuffleWords(low, high, src) }

func unshuffleBlocks(dst, low, high []byte) int { return unshuffleWords(dst, low, high) }

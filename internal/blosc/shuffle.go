package blosc

import "encoding/binary"

// shuffle2 puts the first bytes of src's two-byte elements into the first half of dst, the second bytes into the
// other. An odd last byte stays where it is. dst and src are equally long and do not overlap.
func shuffle2(dst, src []byte) {
	n := len(src) / 2
	low, high := dst[:n], dst[n:2*n]
	done := shuffleBlocks(low, high, src[:2*n])
	for i := done; i < n; i++ {
		low[i], high[i] = src[2*i], src[2*i+1]
	}
	copy(dst[2*n:], src[2*n:])
}

// unshuffle2 undoes [shuffle2].
func unshuffle2(dst, src []byte) {
	n := len(src) / 2
	low, high := src[:n], src[n:2*n]
	done := unshuffleBlocks(dst[:2*n], low, high)
	for i := done; i < n; i++ {
		dst[2*i], dst[2*i+1] = low[i], high[i]
	}
	copy(dst[2*n:], src[2*n:])
}

// shuffleWords shuffles eight elements at a time in plain Go, and returns how many it has done.
func shuffleWords(low, high, src []byte) int {
	n := len(low) &^ 7
	for i := 0; i < n; i += 8 {
		a := binary.LittleEndian.Uint64(src[2*i:])
		b := binary.LittleEndian.Uint64(src[2*i+8:])
		binary.LittleEndian.PutUint64(low[i:], even(a)|even(b)<<32)
		binary.LittleEndian.PutUint64(high[i:], even(a>>8)|even(b>>8)<<32)
	}
	return n
}

// unshuffleWords undoes [shuffleWords].
func unshuffleWords(dst, low, high []byte) int {
	n := len(low) &^ 7
	for i := 0; i < n; i += 8 {
		l := binary.LittleEndian.Uint64(low[i:])
		h := binary.LittleEndian.Uint64(high[i:])
		binary.LittleEndian.PutUint64(dst[2*i:], spread(l)|spread(h)<<8)
		binary.LittleEndian.PutUint64(dst[2*i+8:], spread(l>>32)|spread(h>>32)<<8)
	}
	return n
}

// even gathers bytes 0, 2, 4 and 6 of x in the low half.
func even(x uint64) uint64 {
	x &= 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return (x | x>>16) & 0x00000000ffffffff
}

// spread undoes [even] for the low half of x.
func spread(x uint64) uint64 {
	x &= 0x00000000ffffffff
	x = (x | x<<16) & 0x0000ffff0000ffff
	return (x | x<<8) & 0x00ff00ff00ff00ff
}

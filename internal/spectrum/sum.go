package spectrum

import (
	"encoding/binary"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// sumRows is how many rows are added up at a time: enough to make a call worth its while, and few enough that the
// memory is read in order.
const sumRows = 8

// summer adds up the samples of rows of n bytes, stride bytes apart.
type summer func(b []byte, n, stride, rows int) uint64

// sumFunc is the summer for one type of samples.
func sumFunc(d frames.Dtype) summer {
	if d == frames.Uint16 {
		return sum16
	}
	return sum8
}

// sum8 adds up bytes.
func sum8(b []byte, n, stride, rows int) uint64 {
	if sum, _, ok := sumBlocks(b, n, stride, rows); ok {
		return sum
	}
	sum := uint64(0)
	for y := range rows {
		sum += sumWords8(b[y*stride : y*stride+n])
	}
	return sum
}

// sum16 adds up little-endian 16-bit samples; n is even.
func sum16(b []byte, n, stride, rows int) uint64 {
	if sum, high, ok := sumBlocks(b, n, stride, rows); ok {
		return sum + 255*high // a sample is its low byte and 256 times its high one
	}
	sum := uint64(0)
	for y := range rows {
		sum += sumWords16(b[y*stride : y*stride+n])
	}
	return sum
}

// sumWords8 is the sum of bytes without vector instructions. It adds eight at a time, in four lanes of 16 bits of a word.
func sumWords8(b []byte) uint64 {
	const (
		lanes = 0x00ff00ff00ff00ff
		most  = 128 * 16 // a lane gets at most 2·255 a word, so it holds 128 words
	)
	var total uint64
	for len(b) >= 16 {
		part := b[:min(len(b)&^15, most)]
		b = b[len(part):]
		var s0, s1 uint64
		for len(part) >= 16 {
			v0 := binary.LittleEndian.Uint64(part)
			v1 := binary.LittleEndian.Uint64(part[8:16])
			s0 += v0&lanes + v0>>8&lanes
			s1 += v1&lanes + v1>>8&lanes
			part = part[16:]
		}
		total += fold16(s0) + fold16(s1)
	}
	if len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		total += fold16(v&lanes + v>>8&lanes)
		b = b[8:]
	}
	for _, v := range b {
		total += uint64(v)
	}
	return total
}

// fold16 is the sum of a word's four lanes of 16 bits.
func fold16(s uint64) uint64 {
	s = s&0x0000ffff0000ffff + s>>16&0x0000ffff0000ffff
	return s>>32 + s&0xffffffff
}

// sumWords16 is that of 16-bit samples. It adds four at a time, in two lanes of 32 bits of a word.
func sumWords16(b []byte) uint64 {
	const (
		lanes = 0x0000ffff0000ffff
		most  = 32768 * 32 // a lane gets at most 2·65535 a word, so it holds 32768 words
	)
	var total uint64
	for len(b) >= 32 {
		part := b[:min(len(b)&^31, most)]
		b = b[len(part):]
		var s0, s1, s2, s3 uint64
		for len(part) >= 32 {
			v0 := binary.LittleEndian.Uint64(part)
			v1 := binary.LittleEndian.Uint64(part[8:16])
			v2 := binary.LittleEndian.Uint64(part[16:24])
			v3 := binary.LittleEndian.Uint64(part[24:32])
			s0 += v0&lanes + v0>>16&lanes
			s1 += v1&lanes + v1>>16&lanes
			s2 += v2&lanes + v2>>16&lanes
			s3 += v3&lanes + v3>>16&lanes
			part = part[32:]
		}
		total += s0>>32 + s0&0xffffffff + s1>>32 + s1&0xffffffff
		total += s2>>32 + s2&0xffffffff + s3>>32 + s3&0xffffffff
	}
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		v = v&lanes + v>>16&lanes
		total += v>>32 + v&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(binary.LittleEndian.Uint16(b))
	}
	return total
}

// aboveWords is above without vector instructions.
func aboveWords(xs []float32, floor float32) int {
	for i, x := range xs {
		if x > floor {
			return i
		}
	}
	return len(xs)
}

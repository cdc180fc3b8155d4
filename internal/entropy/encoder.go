package entropy

import (
	"bytes"
	"encoding/binary"
	"sync"
)

const (
	// blockBytes is the most that a zstd block holds (Block_Maximum_Size).
	blockBytes = 128 << 10
	// headerBytes is the size of the frames' header: magic number, descriptor, window and content size.
	headerBytes = 4 + 1 + 1 + 4
	// blockHeaderBytes is the size of a block's header.
	blockHeaderBytes = 3
	// slack is how many bytes behind its end a stream may be written over while it is made.
	slack = 8
	// fewest is the length from which a block is worth a table.
	fewest = 256

	magic      = 0xFD2FB528
	descriptor = 2 << 6 // the content's size in four bytes, a window, no checksum, no dictionary
	window     = 7 << 3 // 128 KiB: a decoder needs no more memory than for one block

	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2
)

// MaxBytes is the most that a frame holds.
const MaxBytes = 1<<32 - 1

// Encoder makes frames. It may be used concurrently. The zero value is ready.
type Encoder struct {
	scratch sync.Pool // of *coder
}

// MaxEncodedSize is the most that a frame of n bytes takes while it is made.
func MaxEncodedSize(n int) int {
	return headerBytes + n + blockHeaderBytes*max(1, (n+blockBytes-1)/blockBytes) + slack
}

// EncodeAll appends the frame that holds src to dst. It allocates nothing when dst has room for [MaxEncodedSize]. src has
// at most [MaxBytes].
func (e *Encoder) EncodeAll(src, dst []byte) []byte {
	c, _ := e.scratch.Get().(*coder)
	if c == nil {
		c = new(coder)
	}
	defer e.scratch.Put(c)
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = append(dst, descriptor, window)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	for {
		block := src[:min(blockBytes, len(src))]
		src = src[len(block):]
		dst = c.block(dst, block, len(src) == 0)
		if len(src) == 0 {
			return dst
		}
	}
}

// coder makes blocks, one at a time.
type coder struct {
	counts [4][256]uint32 // how often each byte is in each stream
	table  table
}

// block appends a block.
func (c *coder) block(dst, src []byte, last bool) []byte {
	start := len(dst)
	n, kind := len(src), blockCompressed
	switch {
	case Constant(src):
		dst, kind = append(dst, 0, 0, 0, src[0]), blockRLE
	case len(src) >= fewest:
		dst = c.literals(append(dst, 0, 0, 0), src)
		n = len(dst) - start - blockHeaderBytes
	}
	if kind == blockCompressed && (len(src) < fewest || n == 0 || n >= len(src)) {
		dst = append(append(dst[:start], 0, 0, 0), src...)
		n, kind = len(src), blockRaw
	}
	h := uint32(n)<<3 | uint32(kind)<<1
	if last {
		h |= 1
	}
	dst[start], dst[start+1], dst[start+2] = byte(h), byte(h>>8), byte(h>>16)
	return dst
}

// Constant reports whether b is one byte again and again.
func Constant(b []byte) bool { return len(b) > 1 && bytes.Equal(b[1:], b[:len(b)-1]) }

// literals appends the contents of a compressed block, or nothing where that would not be smaller than src.
func (c *coder) literals(dst, src []byte) []byte {
	const sectionHeader, jumps = 5, 6
	quarter := (len(src) + 3) / 4
	c.count(src, quarter)
	if !c.table.build(&c.counts) {
		return dst
	}
	start := len(dst)
	dst = append(dst, make([]byte, sectionHeader)...)
	dst, ok := c.table.describe(dst)
	if !ok {
		return dst[:start]
	}
	// The sizes are known before a bit is written: each stream goes to its place.
	var size [4]int
	total := len(dst) - start + jumps + 1
	for i := range size {
		size[i] = c.table.streamBytes(&c.counts[i])
		total += size[i]
	}
	if total >= len(src) {
		return dst[:start]
	}
	at := len(dst) + jumps
	for _, n := range size[:3] {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
	}
	dst = grow(dst, start+total-len(dst)+slack)
	c.streams(dst, at, src, quarter, size)
	dst = dst[:start+total]
	dst[len(dst)-1] = 0 // no sequences

	const compressedLiterals, fourStreams = 2, 3 // sizes of 18 bits
	h := uint64(compressedLiterals) | fourStreams<<2 | uint64(len(src))<<4 | uint64(total-sectionHeader-1)<<22
	for i := range sectionHeader {
		dst[start+i] = byte(h >> (8 * i))
	}
	return dst
}

// grow appends n bytes of any value.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	return append(b, make([]byte, n)...)
}

package blosc

import (
	"encoding/binary"
	"fmt"
)

const (
	headerBytes   = 16
	sizeBytes     = 4 // in front of each plane
	formatVersion = 2 // BLOSC_VERSION_FORMAT
	zstdVersion   = 1 // BLOSC_ZSTD_VERSION_FORMAT

	flagShuffle = 1 << 0
	flagStored  = 1 << 1
	flagNoSplit = 1 << 4
	compZstd    = 4 << 5
	compMask    = 7 << 5

	// MaxBytes is the most that a chunk can hold (BLOSC_MAX_BUFFERSIZE).
	MaxBytes = 1<<31 - 1 - headerBytes
)

// header is a chunk's first sixteen bytes: version, version of the compressor's format, flags, size of an element,
// then in little-endian uint32 the bytes that the chunk holds, those of a block, and the chunk's own with the header.
type header struct {
	flags  byte
	elem   int
	length int
	block  int
	size   int
}

func (h header) put(b []byte) {
	b[0], b[1], b[2], b[3] = formatVersion, zstdVersion, h.flags, byte(h.elem)
	binary.LittleEndian.PutUint32(b[4:], uint32(h.length))
	binary.LittleEndian.PutUint32(b[8:], uint32(h.block))
	binary.LittleEndian.PutUint32(b[12:], uint32(h.size))
}

// parse reads and checks the header of a whole chunk.
func parse(b []byte) (h header, err error) {
	if len(b) < headerBytes {
		return h, fmt.Errorf("%w: %d bytes are less than a header", ErrCorrupt, len(b))
	}
	length, block, size := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	if length > MaxBytes || block > MaxBytes || uint64(size) != uint64(len(b)) {
		return h, fmt.Errorf("%w: %d bytes say that they are %d, in blocks of %d, and hold %d", ErrCorrupt, len(b), size, block, length)
	}
	h = header{flags: b[2], elem: int(b[3]), length: int(length), block: int(block), size: int(size)}
	const known = flagShuffle | flagStored | flagNoSplit | compMask
	switch {
	case b[0] != formatVersion || b[1] != zstdVersion:
		return h, fmt.Errorf("%w: version %d, zstd's %d: want %d and %d", ErrCorrupt, b[0], b[1], formatVersion, zstdVersion)
	case h.flags&^known != 0 || h.flags&compMask != compZstd:
		return h, fmt.Errorf("%w: flags %#x", ErrCorrupt, h.flags)
	case h.elem != 1 && h.elem != 2:
		return h, fmt.Errorf("%w: elements of %d bytes", ErrCorrupt, h.elem)
	case h.stored() && h.size != headerBytes+h.length:
		return h, fmt.Errorf("%w: stored as it is, %d bytes in %d", ErrCorrupt, h.length, h.size)
	case !h.stored() && (h.length == 0 || h.block == 0 || h.block > h.length || h.block%h.elem != 0 || h.size-headerBytes < 4*h.blocks()):
		return h, fmt.Errorf("%w: blocks of %d bytes, %d in %d", ErrCorrupt, h.block, h.length, h.size)
	}
	return h, nil
}

func (h header) stored() bool { return h.flags&flagStored != 0 }

// blocks is how many blocks there are. The last one may be shorter.
func (h header) blocks() int { return (h.length + h.block - 1) / h.block }

// splits is in how many parts of equal length a block of n bytes is compressed, each plane one, or all as one
// (split_block and blosc_d in blosc.c).
func (h header) splits(n int) int {
	if h.flags&flagNoSplit != 0 || n != h.block || n%h.elem != 0 || n/h.elem < smallest {
		return 1
	}
	return h.elem
}

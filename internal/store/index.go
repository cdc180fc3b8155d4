package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// castagnoli makes CRC-32C, the checksum of Zarr's crc32c codec.
func castagnoli(b []byte) uint32 { return crc32c.Checksum(b) }

// noChunk is both numbers of a shard index entry whose chunk is empty.
const noChunk = math.MaxUint64

// indexSize is the length of a shard's index in bytes: K pairs of offset and length, and their crc32c.
func indexSize(k uint64) int64 { return int64(16*k + 4) }

// span is where a chunk lies in its shard's file.
type span struct{ offset, size uint64 }

func (s span) empty() bool { return s.offset == noChunk && s.size == noChunk }

// encodeIndex makes a shard's index (Zarr v3, sharding_indexed, "binary shard format").
func encodeIndex(spans []span) []byte {
	b := make([]byte, 0, indexSize(uint64(len(spans))))
	for _, s := range spans {
		b = binary.LittleEndian.AppendUint64(b, s.offset)
		b = binary.LittleEndian.AppendUint64(b, s.size)
	}
	return binary.LittleEndian.AppendUint32(b, castagnoli(b))
}

// decodeIndex is the inverse of encodeIndex. Spans must lie within the first size bytes of the file.
func decodeIndex(b []byte, size int64) ([]span, error) {
	n := len(b) - 4
	if n < 0 || n%16 != 0 {
		return nil, fmt.Errorf("%w: a shard index of %d bytes", ErrCorrupt, len(b))
	}
	if castagnoli(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("%w: the shard index has a wrong crc32c", ErrCorrupt)
	}
	spans := make([]span, n/16)
	for i := range spans {
		s := span{binary.LittleEndian.Uint64(b[16*i:]), binary.LittleEndian.Uint64(b[16*i+8:])}
		if !s.empty() && (s.offset > uint64(size) || s.size > uint64(size)-s.offset) {
			return nil, fmt.Errorf("%w: chunk %d of the shard lies outside of the file", ErrCorrupt, i)
		}
		spans[i] = s
	}
	return spans, nil
}

// readIndex reads the index at the end of a complete shard file of k chunks.
func readIndex(f vfs.File, k uint64) ([]span, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	n := indexSize(k)
	if size < n {
		return nil, fmt.Errorf("%w: a shard of %d bytes can't hold its index of %d", ErrCorrupt, size, n)
	}
	from := (size - n) &^ (vfs.Block - 1) // as direct access wants it
	b := vfs.Alloc(int(vfs.Pad(size - from)))
	got, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if int64(got) < size-from {
		return nil, fmt.Errorf("%w: the shard's file became shorter", ErrCorrupt)
	}
	return decodeIndex(b[size-n-from:size-from], size-n)
}

package blosc

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicedaq/sluice/internal/entropy"
)

// BlockBytes is the size of a block: two planes that are each a zstd block (128 KiB) long. A block, its
// shuffled copy and its output stay in the cache of a core.
const BlockBytes = 256 << 10

// smallest is BLOSC_MIN_BUFFERSIZE: what is shorter is stored as it is.
const smallest = 128

// searchLevel is the level from which on repetitions are searched for in all planes, below it only where that pays.
const searchLevel = 2

// Encoder makes chunks. It may be used concurrently, by as many goroutines at a time as it was made for.
type Encoder struct {
	elem    int
	search  bool
	zstd    *zstd.Encoder // searches for repetitions
	noise   entropy.Encoder
	planes  sync.Pool // of *[]byte: a shuffled block each
	shuffle bool
}

// NewEncoder makes an encoder for elements of elem bytes, 1 (not shuffled) or 2, for n goroutines at a time. The level is
// Blosc's, 1 to 9: zstd's level is twice that less one, as in c-blosc.
func NewEncoder(elem, level, n int) (*Encoder, error) {
	if elem != 1 && elem != 2 {
		return nil, fmt.Errorf("%w: elements of %d bytes: want 1 or 2", ErrSize, elem)
	}
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(2*level-1)),
		zstd.WithEncoderConcurrency(n),
		zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(BlockBytes),
		// Noise has next to no repetitions, but few of its values are frequent. Without this the fast levels give such a
		// plane up at once and store it as it is.
		zstd.WithAllLitEntropyCompression(true),
	)
	if err != nil {
		return nil, fmt.Errorf("making the zstd encoder: %w", err)
	}
	e := &Encoder{elem: elem, search: level >= searchLevel, zstd: z, shuffle: elem > 1}
	e.planes.New = func() any { b := make([]byte, BlockBytes); return &b }
	return e, nil
}

// Close frees the encoder's memory. No call may be under way.
func (e *Encoder) Close() error { return e.zstd.Close() }

// MaxEncodedSize is the most that a chunk of n bytes takes while it is made; when it is done it takes at most
// n + 16 bytes.
func (e *Encoder) MaxEncodedSize(n int) int {
	return headerBytes + 4*header{length: n, block: BlockBytes}.blocks() + n + e.elem*sizeBytes +
		max(e.zstd.MaxEncodedSize(BlockBytes), entropy.MaxEncodedSize(BlockBytes)) - BlockBytes
}

// EncodeAll appends the chunk that holds src to dst. It allocates nothing when dst has room for
// [Encoder.MaxEncodedSize]. The length of src is at most [MaxBytes] and a multiple of the element's size, or it panics.
func (e *Encoder) EncodeAll(src, dst []byte) []byte {
	if len(src) > MaxBytes || len(src)%e.elem != 0 {
		panic(fmt.Sprintf("blosc: %d bytes of elements of %d", len(src), e.elem))
	}
	h := header{flags: compZstd, elem: e.elem, length: len(src), block: min(BlockBytes, len(src))}
	if e.shuffle {
		h.flags |= flagShuffle
	}
	start := len(dst)
	if len(src) < smallest {
		return e.store(h, src, dst)
	}
	shuffled := e.planes.Get().(*[]byte)
	defer e.planes.Put(shuffled)
	table := start + headerBytes
	dst = grow(dst, headerBytes+4*h.blocks())
	search := e.pays(h, src, dst, *shuffled)
	for i := range h.blocks() {
		block := src[i*h.block : min((i+1)*h.block, len(src))]
		binary.LittleEndian.PutUint32(dst[table+4*i:], uint32(len(dst)-start))
		for no, plane := range e.planesOf(h, block, *shuffled) {
			dst = e.plane(plane, dst, search[no])
			if len(dst)-start >= headerBytes+len(src) {
				return e.store(h, src, dst[:start])
			}
		}
	}
	h.size = len(dst) - start
	h.put(dst[start:])
	return dst
}

// planesOf yields what is compressed of a block on its own, each part with its number. It may lie in shuffled.
func (e *Encoder) planesOf(h header, block, shuffled []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		if e.shuffle {
			shuffle2(shuffled[:len(block)], block)
			block = shuffled[:len(block)]
		}
		parts := h.splits(len(block))
		for i := range parts {
			if n := len(block) / parts; !yield(i, block[i*n:(i+1)*n]) {
				return
			}
		}
	}
}

// pays tells of each plane whether to search for repetitions, by the block in the middle. It tries that out behind dst.
func (e *Encoder) pays(h header, src, dst, shuffled []byte) (search [2]bool) {
	first := (h.blocks() - 1) / 2 * h.block
	if e.search {
		return [2]bool{true, true}
	}
	for i, plane := range e.planesOf(h, src[first:min(first+h.block, len(src))], shuffled) {
		search[i] = e.noise.Pays(e.zstd, plane, dst, len(src))
	}
	return search
}

// plane appends one compressed plane behind its size. As many bytes as the plane mean that it is stored as it is.
func (e *Encoder) plane(src, dst []byte, search bool) []byte {
	at := len(dst)
	dst = grow(dst, sizeBytes)
	if entropy.Constant(src) || !search && !entropy.Repetitive(src) {
		dst = e.noise.EncodeAll(src, dst)
	} else {
		dst = e.zstd.EncodeAll(src, dst)
	}
	if len(dst)-at-sizeBytes >= len(src) {
		dst = append(dst[:at+sizeBytes], src...)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-sizeBytes))
	return dst
}

// store appends a chunk that is not compressed.
func (e *Encoder) store(h header, src, dst []byte) []byte {
	h.flags, h.size = h.flags|flagStored, headerBytes+len(src)
	start := len(dst)
	dst = append(grow(dst, headerBytes), src...)
	h.put(dst[start:])
	return dst
}

// grow appends n bytes of any value.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	return append(b, make([]byte, n)...)
}

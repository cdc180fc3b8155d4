package blosc

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Decoder reads chunks. It is for one goroutine at a time.
type Decoder struct {
	limit  int
	zstd   *zstd.Decoder
	planes []byte
}

// NewDecoder makes a decoder for chunks that hold at most limit bytes.
func NewDecoder(limit int) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("making the zstd decoder: %w", err)
	}
	return &Decoder{limit: limit, zstd: z}, nil
}

// Close frees the decoder's memory.
func (d *Decoder) Close() { d.zstd.Close() }

// DecodeAll appends what a chunk holds to dst. One that says that it holds more than the limit is refused with
// [ErrCorrupt], as is every other that [Encoder] does not make.
func (d *Decoder) DecodeAll(chunk, dst []byte) ([]byte, error) {
	h, err := parse(chunk)
	if err != nil {
		return dst, err
	}
	if h.length > d.limit {
		return dst, fmt.Errorf("%w: it holds %d bytes, more than %d", ErrCorrupt, h.length, d.limit)
	}
	if h.stored() {
		return append(dst, chunk[headerBytes:]...), nil
	}
	start := len(dst)
	dst = grow(dst, h.length)
	for i := range h.blocks() {
		block := dst[start+i*h.block : start+min((i+1)*h.block, h.length)]
		if err := d.block(h, chunk, i, block); err != nil {
			return dst[:start], fmt.Errorf("block %d: %w", i, err)
		}
	}
	return dst, nil
}

// block reads the i-th block into out.
func (d *Decoder) block(h header, chunk []byte, i int, out []byte) error {
	at := uint64(binary.LittleEndian.Uint32(chunk[headerBytes+4*i:]))
	shuffled := h.flags&flagShuffle != 0 && h.elem > 1
	planes := out
	if shuffled {
		if cap(d.planes) < len(out) {
			d.planes = make([]byte, len(out))
		}
		planes = d.planes[:len(out)]
	}
	for plane := range slices.Chunk(planes, len(out)/h.splits(len(out))) {
		if at+sizeBytes > uint64(len(chunk)) {
			return fmt.Errorf("%w: begins at %d of %d", ErrCorrupt, at, len(chunk))
		}
		size := uint64(binary.LittleEndian.Uint32(chunk[at:]))
		at += sizeBytes
		if at+size > uint64(len(chunk)) {
			return fmt.Errorf("%w: %d bytes at %d of %d", ErrCorrupt, size, at, len(chunk))
		}
		if err := d.plane(chunk[at:at+size], plane); err != nil {
			return err
		}
		at += size
	}
	if shuffled {
		unshuffle2(out, planes)
	}
	return nil
}

// plane reads what lies behind a size into out, which has the length of what it holds.
func (d *Decoder) plane(data, out []byte) error {
	if len(data) == len(out) {
		copy(out, data)
		return nil
	}
	got, err := d.zstd.DecodeAll(data, out[:0:len(out)])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(got) != len(out) {
		return fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(got), len(out))
	}
	return nil
}

package store

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicedaq/sluice/internal/blosc"
	"github.com/sluicedaq/sluice/internal/entropy"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The codecs of run.Spec.
const (
	codecNone  = "none"
	codecZstd  = "zstd"
	codecBlosc = "blosc-zstd"
)

// smallFrame is the size up to which zstd's header would not say how long the frame is, unless it is made a
// single segment. Some decoders need to know.
const smallFrame = 1024

// Encoder compresses frames.
type Encoder interface {
	// EncodeAll appends the compressed src to dst, and may be called concurrently. It allocates nothing when dst has
	// room for MaxEncodedSize(len(src)).
	EncodeAll(src, dst []byte) []byte
	MaxEncodedSize(n int) int
	Close() error
}

var (
	_ Encoder = (*zstdEncoder)(nil)
	_ Encoder = (*blosc.Encoder)(nil)
)

// NewEncoder makes a run's encoder for n goroutines at a time, nil for the codec "none".
func NewEncoder(s run.Spec, n int) (Encoder, error) {
	switch s.Codec {
	case codecZstd:
		return newZstd(s, n)
	case codecBlosc:
		return blosc.NewEncoder(s.Geometry.Dtype.Size(), s.Level, n)
	}
	return nil, nil
}

// searchLevel is zstd's level from which on repetitions are searched for in all frames, below it only where that pays.
const searchLevel = 2

// zstdEncoder makes a zstd frame of each frame.
type zstdEncoder struct {
	*zstd.Encoder // searches for repetitions

	noise entropy.Encoder
	fast  bool
}

func newZstd(s run.Spec, n int) (Encoder, error) {
	opts := []zstd.EOption{
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(s.Level)),
		zstd.WithEncoderConcurrency(n),
		zstd.WithEncoderCRC(false),
		// Shot noise has next to no repetitions, but few of its values are frequent. Without this the fast levels
		// give such a frame up at once and store it as it is.
		zstd.WithAllLitEntropyCompression(true),
	}
	if s.Geometry.FrameBytes() <= smallFrame {
		opts = append(opts, zstd.WithSingleSegment(true))
	}
	e, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		return nil, fmt.Errorf("making the zstd encoder: %w", err)
	}
	return &zstdEncoder{Encoder: e, fast: s.Level < searchLevel}, nil
}

// EncodeAll implements [Encoder].
func (e *zstdEncoder) EncodeAll(src, dst []byte) []byte {
	if e.fast && !entropy.Repetitive(src) && !e.noise.Pays(e.Encoder, src, dst, len(src)) {
		return e.noise.EncodeAll(src, dst)
	}
	return e.Encoder.EncodeAll(src, dst)
}

// MaxEncodedSize implements [Encoder].
func (e *zstdEncoder) MaxEncodedSize(n int) int {
	return max(e.Encoder.MaxEncodedSize(n), entropy.MaxEncodedSize(n))
}

// decoder reads what an encoder made, for one goroutine at a time.
type decoder interface {
	// DecodeAll appends what chunk holds to dst.
	DecodeAll(chunk, dst []byte) ([]byte, error)
	Close()
}

var (
	_ decoder = (*zstd.Decoder)(nil)
	_ decoder = (*blosc.Decoder)(nil)
)

// newDecoder makes the decoder for a run's frames, nil for codecNone.
func newDecoder(s run.Spec) (decoder, error) {
	switch s.Codec {
	case codecZstd:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*frames.MaxFrameBytes))
		if err != nil {
			return nil, fmt.Errorf("making the zstd decoder: %w", err)
		}
		return d, nil
	case codecBlosc:
		return blosc.NewDecoder(s.Geometry.FrameBytes())
	}
	return nil, nil
}

// maxStored is more than a stored chunk of the run has, in bytes.
func maxStored(s run.Spec) uint64 { return 2*uint64(s.Geometry.FrameBytes()) + 1<<16 }

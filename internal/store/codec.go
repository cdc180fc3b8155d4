package store

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicedaq/sluice/internal/run"
)

// The codecs of run.Spec.
const (
	codecNone = "none"
	codecZstd = "zstd"
)

// smallFrame is the size up to which zstd's header would not say how long the frame is, unless it is made a
// single segment. Some decoders need to know.
const smallFrame = 1024

// newEncoder makes the run's encoder, nil for codecNone. It may be used concurrently, by n goroutines at a time.
func newEncoder(s run.Spec, n int) (*zstd.Encoder, error) {
	if s.Codec == codecNone {
		return nil, nil
	}
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
	return e, nil
}

package spectrum

import (
	"fmt"
	"math/bits"
)

// ValidSegment returns an error wrapping ErrConfig unless n frames can be a segment: an even number from
// MinSegment to MaxSegment.
func ValidSegment(n int) error {
	if n < MinSegment || n > MaxSegment || n%2 != 0 {
		return fmt.Errorf("%w: segments of %d frames: want an even number from %d to %d", ErrConfig, n, MinSegment, MaxSegment)
	}
	return nil
}

// AutoSegment is a length of Welch's segments for a camera: two seconds of frames at the nominal rate (512
// where there is none), no more than the run's frames where they are known and four times fit into maxBytes,
// rounded down to a power of two within MinSegment to 4096.
func AutoSegment(fps float64, frames uint64, values int, maxBytes int64) int {
	n := 512.0
	if fps > 0 {
		n = 2 * fps
	}
	if frames > 0 {
		n = min(n, float64(frames))
	}
	n = max(MinSegment, min(n, float64(maxBytes)/float64(4*sampleBytes(values)), 4096))
	return 1 << (bits.Len(uint(n)) - 1)
}

package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestNoiseGetsSmaller: what most cameras give most of the time takes less room at every level, the default one
// included.
func TestNoiseGetsSmaller(t *testing.T) {
	for _, codec := range []string{codecZstd, codecBlosc} {
		for _, dtype := range []frames.Dtype{frames.Uint8, frames.Uint16} {
			for _, level := range []int{1, 3, 9} {
				t.Run(fmt.Sprintf("%s, %s at level %d", codec, dtype, level), func(t *testing.T) {
					c := sim.Default()
					c.Width, c.Height, c.Dtype = 256, 256, dtype
					if dtype == frames.Uint8 {
						c.Mean = 64
					}
					p, err := sim.NewPattern(c)
					if err != nil {
						t.Fatal(err)
					}
					frame := make([]byte, c.Geometry().FrameBytes())
					p.Fill(frame, 0)
					spec := run.Spec{Codec: codec, Level: level, Geometry: c.Geometry()}
					e, err := NewEncoder(spec, 1)
					if err != nil {
						t.Fatal(err)
					}
					defer e.Close()
					packed := e.EncodeAll(frame, nil)
					if limit := len(frame) * 3 / 4; len(packed) > limit {
						t.Errorf("%d bytes became %d, want %d at most", len(frame), len(packed), limit)
					}
					decoder, err := newDecoder(spec)
					if err != nil {
						t.Fatal(err)
					}
					defer decoder.Close()
					if got, err := decoder.DecodeAll(packed, nil); err != nil || !bytes.Equal(got, frame) {
						t.Errorf("they come back otherwise, %v", err)
					}
				})
			}
		}
	}
}

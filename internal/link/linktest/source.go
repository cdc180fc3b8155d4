package linktest

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Spec describes a run of frames of one byte a pixel.
func Spec(width, height int) run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: "cam0", ShardFrames: 8, Store: "s", Codec: "none",
		Geometry: frames.Geometry{Height: height, Width: width, Channels: 1, Dtype: frames.Uint8},
	}
}

// SlabSource is acquire's side of a slab.
type SlabSource struct {
	t       testing.TB
	carrier link.Carrier
	Slab    *slab.Slab
}

var _ Source = (*SlabSource)(nil)

// NewSlabSource makes a slab below dir for members that use the carrier. It goes with the test.
func NewSlabSource(t testing.TB, dir string, carrier link.Carrier, spec run.Spec, slots int) *SlabSource {
	t.Helper()
	s, err := slab.Create(slab.Config{Dir: dir, Spec: spec, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &SlabSource{t, carrier, s}
}

// Armed implements Source.
func (s *SlabSource) Armed() link.Armed {
	return link.Armed{Spec: s.Slab.Spec(), Slab: s.Slab.Path(), Policy: link.Lossless, Primary: "w0"}
}

// Carrier implements Source.
func (s *SlabSource) Carrier() link.Carrier { return s.carrier }

// Put implements Source.
func (s *SlabSource) Put(seq uint64, pixels []byte) frames.Offer {
	slot, ok := s.Slab.Take()
	if !ok {
		s.t.Fatal("no slot is free")
	}
	copy(s.Slab.Pixels(slot), pixels)
	h := frames.Header{Seq: seq, FrameID: seq + 7, DeviceNS: int64(seq) * 3, HostNS: int64(seq)*3 + 1}
	if seq%2 == 1 { // of the others it is not known
		h.Checksum = crc32c.Checksum(pixels)
	}
	return s.Slab.Commit(slot, h, 1).Offer(slot, 5)
}

// Reclaim implements Source.
func (s *SlabSource) Reclaim(o frames.Offer) {
	s.Free(o)
	if slot, ok := s.Slab.Take(); !ok || slot != int(o.Slot) {
		s.t.Fatalf("took slot %d, want %d", slot, o.Slot)
	}
}

// Free lets a frame go: its slot may be filled anew.
func (s *SlabSource) Free(o frames.Offer) {
	s.Slab.Let(int(o.Slot), 0)
	s.Slab.Free(int(o.Slot))
}

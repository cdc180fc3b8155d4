// Package shm is the carrier for members on acquire's own host: pixels stay in the slab, and a process's death
// is a lock that the kernel releases.
package shm

import (
	"context"
	"fmt"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Carrier maps slabs below Dir.
type Carrier struct {
	// Dir is the memory file system, /dev/shm.
	Dir string
}

var _ link.Carrier = Carrier{}

// Names implements link.Carrier.
func (Carrier) Names() []string { return []string{link.SharedMemory} }

// Open implements link.Carrier.
func (c Carrier) Open(_ context.Context, a link.Armed) (link.Mapping, error) {
	v, err := slab.Open(c.Dir, a.Slab, a.Spec.Run)
	if err != nil {
		return nil, err
	}
	if got, want := v.Spec(), a.Spec; got.Geometry != want.Geometry || got.Camera != want.Camera || got.ShardFrames != want.ShardFrames {
		v.Close()
		return nil, fmt.Errorf("%w: the slab holds frames of %s of camera %s in shards of %d, the run has %s of %s in shards of %d",
			link.ErrProtocol, got.Geometry, got.Camera, got.ShardFrames, want.Geometry, want.Camera, want.ShardFrames)
	}
	return mapping{v}, nil
}

type mapping struct{ *slab.View }

var _ link.Mapping = mapping{}

// Frames implements link.Mapping.
func (m mapping) Frames(_ context.Context, offers []frames.Offer, each func(frames.Offer, *frames.Frame, error)) int {
	m.View.Frames(offers, each)
	return len(offers)
}

// Way implements link.Mapping.
func (mapping) Way() link.Way { return link.Way{Carrier: link.SharedMemory} }

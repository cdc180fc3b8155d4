package slab

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// View is a consumer's read-only mapping of a slab. Its methods may be called concurrently.
type View struct {
	layout
	spec run.Spec
	mem  []byte
}

// Open maps the slab at path, which must lie in this user's folder below dir and belong to the given run.
func Open(dir, path string, id frames.RunID) (*View, error) {
	if filepath.Dir(path) != UserDir(dir) {
		return nil, fmt.Errorf("open slab %s: %w: it must lie in %s", path, ErrForeign, UserDir(dir))
	}
	f, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open slab: %w", err)
	}
	defer f.Close() // the mapping stays
	l, spec, err := readHeader(f)
	if err != nil {
		return nil, fmt.Errorf("open slab: %w", err)
	}
	if l.run != id {
		return nil, fmt.Errorf("open slab %s: %w: it belongs to run %s, not to %s", path, ErrForeign, l.run, id)
	}
	mem, err := mapFile(f, l.total, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	return &View{layout: l, spec: spec, mem: mem}, nil
}

// Spec is the run's description.
func (v *View) Spec() run.Spec { return v.spec }

// held is a frame in a view's memory.
type held struct {
	frame      frames.Frame
	mem        []byte // the view's
	record     *slotRecord
	generation uint64
	good       bool
	err        error
}

var _ frames.Memory = (*held)(nil)

// Intact implements frames.Memory.
func (h *held) Intact() bool {
	same := false
	err := frames.Guard(h.mem, func() { same = h.record.generation.Load() == h.generation })
	return same && err == nil
}

// Free implements frames.Memory: acquire is told by the consumer.
func (h *held) Free() {}

// Frames turns offers into frames whose pixels lie in the slab, and calls each for every one, in order, with the frame or
// an error: one that wraps ErrRange for a slot that does not exist, ErrStale when the slot does not hold the offered
// frame (any more), and frames.ErrFault where the file was cut short. That shows with the pixels too: who reads them does
// so by frames.Guard.
func (v *View) Frames(offers []frames.Offer, each func(frames.Offer, *frames.Frame, error)) {
	list := make([]held, len(offers)) // of all of them, so that a frame costs no allocation
	for at := 0; at < len(list); at++ {
		err := frames.Guard(v.mem, func() {
			for ; at < len(list); at++ {
				v.look(&list[at], offers[at])
			}
		})
		if err != nil {
			list[at].err = err
		}
	}
	for i := range list {
		h, o := &list[i], offers[i]
		switch {
		case h.err != nil:
			each(o, nil, fmt.Errorf("frame %d in slot %d: %w", o.Seq, o.Slot, h.err))
		case h.record == nil:
			each(o, nil, fmt.Errorf("slot %d of %d: %w", o.Slot, v.slots, ErrRange))
		case !h.good:
			each(o, nil, fmt.Errorf("frame %d in slot %d: %w", o.Seq, o.Slot, ErrStale))
		default:
			at := v.dataAt + int(o.Slot)*v.stride
			h.frame.Init(frames.Header{
				Run: v.run, Seq: o.Seq, FrameID: o.FrameID, DeviceNS: o.DeviceNS, HostNS: o.HostNS, Checksum: o.Checksum,
				Geometry: v.spec.Geometry,
			}, v.mem[at:at+v.frameBytes:at+v.stride], h)
			each(o, &h.frame, nil)
		}
	}
}

// look sees whether a slot holds the frame of an offer.
func (v *View) look(h *held, o frames.Offer) {
	if int64(o.Slot) >= int64(v.slots) {
		return
	}
	h.mem, h.generation = v.mem, o.Generation
	h.record = slotAt(v.mem, v.layout, int(o.Slot))
	h.good = o.Generation%2 == 0 && h.record.record().Offer(int(o.Slot), o.Epoch) == o && h.record.generation.Load() == o.Generation
}

// Close unmaps the slab. Frames made from it must not be read any more.
func (v *View) Close() error {
	mem := v.mem
	v.mem = nil
	return unmap(mem)
}

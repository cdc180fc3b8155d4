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

// Frame turns an offer into a frame whose pixels lie in the slab. It returns an error wrapping ErrRange for a
// slot that does not exist, ErrStale when the slot does not hold the offered frame (any more), and frames.ErrFault where
// the file was cut short. That shows with the pixels too: who reads them does so by frames.Guard.
func (v *View) Frame(o frames.Offer) (*frames.Frame, error) {
	if int64(o.Slot) >= int64(v.slots) {
		return nil, fmt.Errorf("slot %d of %d: %w", o.Slot, v.slots, ErrRange)
	}
	mem := v.mem
	r := slotAt(mem, v.layout, int(o.Slot))
	intact := func() bool {
		same := false
		err := frames.Guard(mem, func() { same = r.generation.Load() == o.Generation })
		return same && err == nil
	}
	good := false
	if err := frames.Guard(mem, func() { good = r.record().Offer(int(o.Slot), o.Epoch) == o }); err != nil {
		return nil, fmt.Errorf("frame %d in slot %d: %w", o.Seq, o.Slot, err)
	}
	if o.Generation%2 == 1 || !good || !intact() {
		return nil, fmt.Errorf("frame %d in slot %d: %w", o.Seq, o.Slot, ErrStale)
	}
	at := v.dataAt + int(o.Slot)*v.stride
	h := frames.Header{
		Run: v.run, Seq: o.Seq, FrameID: o.FrameID, DeviceNS: o.DeviceNS, HostNS: o.HostNS, Geometry: v.spec.Geometry,
	}
	return frames.NewFrame(h, v.mem[at:at+v.frameBytes:at+v.stride], intact, nil), nil
}

// Close unmaps the slab. Frames made from it must not be read any more.
func (v *View) Close() error {
	mem := v.mem
	v.mem = nil
	return unmap(mem)
}

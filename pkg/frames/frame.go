package frames

import (
	"fmt"
	"sync/atomic"
)

// Frame is a counted reference to one frame's pixels, which usually lie in memory that is given to
// another frame after the last release. NewFrame's caller owns the first reference.
//
// Retain, Release and Pixels may be called concurrently.
type Frame struct {
	Header
	pixels []byte
	refs   atomic.Int32
	memory Memory
}

// Memory is what a frame's pixels lie in.
type Memory interface {
	// Intact reports whether the memory still belongs to the frame.
	Intact() bool
	// Free is called once, at the frame's last Release.
	Free()
}

// NewFrame wraps pixels, which must hold h.Geometry.FrameBytes() bytes. intact, if not nil, reports
// whether the memory still belongs to this frame; release, if not nil, runs once, at the last Release.
func NewFrame(h Header, pixels []byte, intact func() bool, release func()) *Frame {
	f := &Frame{}
	f.Init(h, pixels, memory{intact, release})
	return f
}

// Init makes a frame of f, which must be zero: many of them can be had in one piece of memory. It is otherwise as
// NewFrame; m may be nil.
func (f *Frame) Init(h Header, pixels []byte, m Memory) {
	f.Header, f.pixels, f.memory = h, pixels, m
	f.refs.Store(1)
}

// memory is a Memory of functions, each of which may be nil.
type memory struct {
	intact func() bool
	free   func()
}

// Intact implements Memory.
func (m memory) Intact() bool { return m.intact == nil || m.intact() }

// Free implements Memory.
func (m memory) Free() {
	if m.free != nil {
		m.free()
	}
}

// Pixels returns the frame's samples. They are invalid after the last Release: the call then returns
// an error wrapping [ErrReleased].
func (f *Frame) Pixels() ([]byte, error) {
	if f.refs.Load() <= 0 {
		return nil, fmt.Errorf("pixels of frame %d: %w", f.Seq, ErrReleased)
	}
	return f.pixels, nil
}

// Intact returns an error wrapping [ErrReclaimed] when the memory was given to another frame. A reader
// whose group is not lossless asks after it has read, and discards what it made of the pixels.
func (f *Frame) Intact() error {
	if f.memory != nil && !f.memory.Intact() {
		return fmt.Errorf("frame %d: %w", f.Seq, ErrReclaimed)
	}
	return nil
}

// Retain adds a reference: one more Release is needed. It panics on a frame that was released.
func (f *Frame) Retain() {
	if f.refs.Add(1) <= 1 {
		panic("frames: Retain of a released frame")
	}
}

// Release gives a reference back; the last one frees the memory. It panics when called too often.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n == 0:
		if f.memory != nil {
			f.memory.Free()
		}
	case n < 0:
		panic("frames: Release of a released frame")
	}
}

package jetstream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// keptVoids is how many frames are remembered that are not there any more.
const keptVoids = 16

// pool is a member's memory for the frames of one run, where their parts are put together. Frames lie on pages of 4096
// bytes, as in the slab, for direct I/O.
type pool struct {
	spec   run.Spec
	stride int
	mem    []byte

	filling sync.Mutex // held while a part is copied

	mu      sync.Mutex // guards what follows
	have    map[key]*assembly
	free    []int
	arrived uint64 // frames that began to arrive, for their order
	heard   time.Time
	voids   []key
	changed chan struct{} // a token when a frame is complete, or void
}

// assembly is a frame in the pool.
type assembly struct {
	slot    int
	order   uint64
	got     []bool // by part
	missing int
	bytes   int
	refs    int // in the consumer's hands
}

// whole reports whether every part is there.
func (a *assembly) whole(frame int) bool { return a.missing == 0 && a.bytes == frame }

// newPool allocates memory for n frames of a run.
func newPool(spec run.Spec, n int) (*pool, error) {
	p := &pool{
		spec: spec, stride: slab.Stride(spec.Geometry.FrameBytes()), have: map[key]*assembly{}, heard: time.Now(),
		changed: make(chan struct{}, 1),
	}
	var err error
	if p.mem, err = unix.Mmap(-1, 0, n*p.stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return nil, fmt.Errorf("memory for %d frames of %d bytes: %w", n, p.stride, err)
	}
	for i := range n {
		p.free = append(p.free, i)
	}
	return p, nil
}

// close frees the memory. Frames must not be read any more.
func (p *pool) close() error {
	p.filling.Lock()
	defer p.filling.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	mem := p.mem
	p.mem, p.free = nil, nil
	clear(p.have)
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("free the memory for frames: %w", err)
	}
	return nil
}

// put takes one part. Parts of other runs, and those that came before, are nothing new; an error wraps ErrPart.
func (p *pool) put(h part, data []byte) error {
	p.filling.Lock()
	defer p.filling.Unlock()
	if h.run != p.spec.Run {
		return nil
	}
	to, err := p.place(h, len(data))
	if to == nil || err != nil {
		return err
	}
	copy(to, data)
	// The copy is what counts, and it is in the cache.
	if crc := crc32c.Checksum(to); crc != h.crc {
		return fmt.Errorf("%w: part %d of frame %d has the checksum %08x, not %08x", ErrPart, h.index, h.seq, crc, h.crc)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.have[h.key]
	a.got[h.index] = true
	a.missing--
	a.bytes += len(data)
	if a.whole(p.spec.Geometry.FrameBytes()) {
		p.tell()
	}
	return nil
}

// place finds the memory for a part; nil where it is not wanted, or where there is none.
func (p *pool) place(h part, n int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
	if p.mem == nil {
		return nil, nil
	}
	if h.count == 0 {
		if len(p.voids) == keptVoids {
			p.voids = p.voids[:copy(p.voids, p.voids[1:])]
		}
		p.voids = append(p.voids, h.key)
		p.tell()
		return nil, nil
	}
	frame := p.spec.Geometry.FrameBytes()
	at := h.index * n
	if h.index == h.count-1 {
		at = frame - n
	}
	if h.count > frame || n == 0 || at < 0 || at+n > frame {
		return nil, fmt.Errorf("%w: %d bytes as number %d of %d of a frame of %d", ErrPart, n, h.index, h.count, frame)
	}
	a := p.have[h.key]
	if a != nil && len(a.got) != h.count { // cut anew, for another broker
		if a.refs > 0 || a.whole(frame) {
			return nil, nil
		}
		*a = assembly{slot: a.slot, order: a.order, got: make([]bool, h.count), missing: h.count}
	}
	if a == nil {
		slot, ok := p.room()
		if !ok { // it is asked for again
			return nil, nil
		}
		p.arrived++
		a = &assembly{slot: slot, order: p.arrived, got: make([]bool, h.count), missing: h.count}
		p.have[h.key] = a
	}
	if a.got[h.index] {
		return nil, nil
	}
	at += a.slot * p.stride
	return p.mem[at : at+n], nil
}

// room finds memory for one more frame: what was never offered goes first, the oldest. p.mu is held.
func (p *pool) room() (slot int, ok bool) {
	if n := len(p.free); n > 0 {
		slot, p.free = p.free[n-1], p.free[:n-1]
		return slot, true
	}
	var oldest *assembly
	var which key
	for k, a := range p.have {
		if a.refs == 0 && (oldest == nil || a.order < oldest.order) {
			oldest, which = a, k
		}
	}
	if oldest == nil {
		return 0, false
	}
	delete(p.have, which)
	return oldest.slot, true
}

// tell has who waits look again. p.mu is held.
func (p *pool) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// frame waits for a frame that was offered, until nothing has come for patience or ctx ends: it is nil then. An error
// wrapping slab.ErrStale means that it is not there any more. One goroutine may wait.
func (p *pool) frame(ctx context.Context, o frames.Offer, patience time.Duration) (*frames.Frame, error) {
	began := time.Now()
	for {
		f, quiet, err := p.look(o, began)
		if f != nil || err != nil {
			return f, err
		}
		if quiet >= patience || ctx.Err() != nil {
			return nil, nil
		}
		timer := time.NewTimer(patience - quiet)
		select {
		case <-p.changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// look hands an offered frame over, or says for how long nothing has come since began.
func (p *pool) look(o frames.Offer, began time.Time) (*frames.Frame, time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, size := keyOf(o), p.spec.Geometry.FrameBytes()
	a := p.have[k]
	switch {
	case o.Generation%2 == 1:
		return nil, 0, fmt.Errorf("frame %d of generation %d: %w", o.Seq, o.Generation, slab.ErrStale)
	case a != nil && a.whole(size):
		a.refs++
		at := a.slot * p.stride
		h := frames.Header{
			Run: p.spec.Run, Seq: o.Seq, FrameID: o.FrameID, DeviceNS: o.DeviceNS, HostNS: o.HostNS, Geometry: p.spec.Geometry,
		}
		return frames.NewFrame(h, p.mem[at:at+size:at+p.stride], nil, func() { p.release(k, a) }), 0, nil
	case slices.Contains(p.voids, k):
		return nil, 0, fmt.Errorf("frame %d: %w", o.Seq, slab.ErrStale)
	}
	since := p.heard
	if began.After(since) {
		since = began
	}
	return nil, time.Since(since), nil
}

// release takes back a frame that was handed over.
func (p *pool) release(k key, a *assembly) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.refs--; a.refs == 0 && p.have[k] == a {
		delete(p.have, k)
		p.free = append(p.free, a.slot)
	}
}

package bench

import (
	"context"
	"sync"
)

// held is the memory of a writer that keeps what it writes until that is durable: what a budget is to a run. Its unit
// are writes, which have numbers from 0 on.
type held struct {
	total int // writes of the run
	size  int // writes that the memory holds
	every int // a sync takes so many at least, but for the last one

	mu      sync.Mutex
	changed chan struct{} // guarded by mu, as all below: closed, and made anew, when the numbers change
	done    map[int]bool  // writes that have returned, beyond written
	written int           // writes that have returned, without a gap
	durable int
}

// newHeld makes memory for a run of total writes. Half of it is written while the other half is synced.
func newHeld(total, size int) *held {
	size = max(2, size)
	return &held{total: total, size: size, every: size / 2, changed: make(chan struct{}), done: map[int]bool{}}
}

// begin waits until the memory has room for write i.
func (h *held) begin(ctx context.Context, i int) error {
	return h.await(ctx, func() bool { return i < h.durable+h.size })
}

// end tells that write i has returned.
func (h *held) end(i int) {
	h.change(func() {
		h.done[i] = true
		for h.done[h.written] {
			delete(h.done, h.written)
			h.written++
		}
	})
}

// sync syncs what is written until the run is complete: the writes from one number to below the other.
func (h *held) sync(ctx context.Context, sync func(from, to int) error) error {
	for from := 0; from < h.total; {
		to := from
		if err := h.await(ctx, func() bool {
			to = h.written
			return to >= min(from+h.every, h.total)
		}); err != nil {
			return err
		}
		if err := sync(from, to); err != nil {
			return err
		}
		h.change(func() { h.durable = to })
		from = to
	}
	return nil
}

func (h *held) change(how func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how()
	close(h.changed)
	h.changed = make(chan struct{})
}

// await waits until the numbers are as wanted.
func (h *held) await(ctx context.Context, wanted func() bool) error {
	for {
		h.mu.Lock()
		ok, changed := wanted(), h.changed
		h.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package bench

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHeld: no more than the memory's writes are ever not durable, each is synced once, and half of them at a time.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total, size, depth = 21, 8, 3
		h := newHeld(total, size)
		var mu sync.Mutex
		next, durable, most := 0, 0, 0
		var all sync.WaitGroup
		for range depth {
			all.Go(func() {
				for {
					mu.Lock()
					i := next
					next++
					mu.Unlock()
					if i >= total || h.begin(t.Context(), i) != nil {
						return
					}
					mu.Lock()
					most = max(most, i+1-durable)
					mu.Unlock()
					<-time.After(time.Duration(1+i%3) * time.Millisecond) // they return out of order
					h.end(i)
				}
			})
		}
		var syncs [][2]int
		err := h.sync(t.Context(), func(from, to int) error {
			<-time.After(20 * time.Millisecond)
			syncs = append(syncs, [2]int{from, to})
			mu.Lock()
			durable = to
			mu.Unlock()
			return nil
		})
		all.Wait()
		if err != nil || durable != total {
			t.Errorf("%d of %d are durable, %v", durable, total, err)
		}
		if most != size {
			t.Errorf("%d writes were not durable, the memory holds %d", most, size)
		}
		at := 0
		for i, s := range syncs {
			if s[0] != at || s[1]-s[0] < size/2 && i < len(syncs)-1 {
				t.Errorf("syncs %v: number %d does not go on from %d with at least %d", syncs, i, at, size/2)
			}
			at = s[1]
		}
	})
}

// TestHeldStops: a sync that fails, or the end of the context, leaves nobody waiting.
func TestHeldStops(t *testing.T) {
	h := newHeld(100, 2)
	h.end(0)
	want := errors.New("the disk is broken")
	if err := h.sync(t.Context(), func(int, int) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan error)
	go func() { began <- h.begin(ctx, 2) }()
	cancel()
	if err := <-began; !errors.Is(err, context.Canceled) {
		t.Errorf("a write began after the end: %v", err)
	}
	h = newHeld(100, 2)
	if err := h.sync(ctx, func(int, int) error { return want }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

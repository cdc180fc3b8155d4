package store

import (
	"context"
	"fmt"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// pool is a fixed number of equal aligned buffers: all the memory for pixels that the store has. A buffer is
// made when it is first needed.
type pool struct {
	size int
	free chan []byte
}

// newPool makes a pool of as many buffers of size bytes as fit into limit bytes, at least one and at most n.
func newPool(size, n int, limit int64) *pool {
	n = int(max(1, min(int64(n), limit/int64(max(size, 1)))))
	p := &pool{size: size, free: make(chan []byte, n)}
	for range n {
		p.free <- nil
	}
	return p
}

// bytes is what the pool's buffers hold when all are made.
func (p *pool) bytes() int64 { return int64(p.size) * int64(cap(p.free)) }

// get waits for a free buffer.
func (p *pool) get(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.free:
		if b == nil {
			b = vfs.Alloc(p.size)
		}
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a buffer: %w", ctx.Err())
	}
}

// put gives back what get returned.
func (p *pool) put(b []byte) { p.free <- b }

// token is a lock, or several of a kind, that a context can end the wait for.
type token chan struct{}

func (t token) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t token) give() { <-t }

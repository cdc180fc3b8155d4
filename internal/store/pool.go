package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// pool is a limited number of equal aligned buffers: all the memory for pixels that the store has. A buffer is
// made when as many as there are are in use: what one user needs at a time is one.
type pool struct {
	size int
	used token // as many as buffers may be in use

	mu   sync.Mutex
	free [][]byte // guarded by mu
}

// newPool makes a pool of as many buffers of size bytes as fit into limit bytes, at least one and at most n.
func newPool(size, n int, limit int64) *pool {
	n = int(max(1, min(int64(n), limit/int64(max(size, 1)))))
	return &pool{size: size, used: make(token, n)}
}

// bytes is what the pool's buffers hold when all are made.
func (p *pool) bytes() int64 { return int64(p.size) * int64(cap(p.used)) }

// get waits for a free buffer.
func (p *pool) get(ctx context.Context) ([]byte, error) {
	if err := p.used.take(ctx); err != nil {
		return nil, fmt.Errorf("waiting for a buffer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return vfs.Alloc(p.size), nil
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	return b, nil
}

// put gives back what get returned.
func (p *pool) put(b []byte) {
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
	p.used.give()
}

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

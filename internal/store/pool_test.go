package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestPool: buffers are made for those who use some at the same time, not for all who ever did; no more than the limit.
func TestPool(t *testing.T) {
	t.Parallel()
	p := newPool(4096, 100, 3*4096)
	seen := map[*byte]bool{}
	for range 10 {
		b, err := p.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[&b[0]] = true
		p.put(b)
	}
	if len(seen) != 1 {
		t.Errorf("one user after the other has had %d buffers", len(seen))
	}
	var all [][]byte
	for range 3 {
		b, err := p.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[&b[0]] = true
		all = append(all, b)
	}
	if len(seen) != 3 || p.bytes() != 3*4096 {
		t.Errorf("three users have %d buffers, the pool says %d bytes", len(seen), p.bytes())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth user: %v", err)
	}
	for _, b := range all {
		p.put(b)
	}
}

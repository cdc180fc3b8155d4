package backpressure_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

// model is a budget as simple as can be: it decides everything anew from slices after each operation.
type model struct {
	limit   int64
	held    []int64 // granted, in order of the grants
	waiting []int64
	state   backpressure.State
	changes []change
	peak    int64
}

func (m *model) used() (sum int64) {
	for _, n := range m.held {
		sum += n
	}
	return sum
}

func (m *model) after(refused bool) {
	for len(m.waiting) > 0 && m.used()+m.waiting[0] <= m.limit {
		m.held = append(m.held, m.waiting[0])
		m.waiting = m.waiting[1:]
	}
	used := m.used()
	m.peak = max(m.peak, used)
	next := m.state
	if used > m.limit*3/4 && m.state == open {
		next = throttled
	}
	if used <= m.limit/2 {
		next = open
	}
	if refused || len(m.waiting) > 0 || used == m.limit {
		next = full
	}
	if next != m.state {
		m.changes = append(m.changes, change{m.state, next, used})
		m.state = next
	}
}

// try reports whether n bytes are granted at once.
func (m *model) try(n int64) bool {
	ok := len(m.waiting) == 0 && m.used()+n <= m.limit
	if ok {
		m.held = append(m.held, n)
	}
	m.after(!ok)
	return ok
}

// followModel carries out the operations that ops encodes, two bytes each, on a budget and on the model, and
// compares them after each.
func followModel(t *testing.T, ops []byte) {
	const limit = 100
	synctest.Test(t, func(t *testing.T) {
		b, log := newBudget(t, limit)
		m := &model{limit: limit}
		var cancels []context.CancelFunc // of m.waiting, in order
		var served []chan error
		for len(ops) >= 2 {
			op, arg := ops[0]%4, int64(ops[1])
			ops = ops[2:]
			n := arg%limit + 1
			switch {
			case op == 0:
				if got, want := b.TryAcquire(n) == nil, m.try(n); got != want {
					t.Fatalf("TryAcquire(%d) granted: %v, want %v", n, got, want)
				}
			case op == 1:
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- b.Acquire(ctx, n) }()
				m.waiting = append(m.waiting, n)
				cancels, served = append(cancels, cancel), append(served, done)
				m.after(false)
			case op == 2 && len(m.held) > 0:
				i := int(arg) % len(m.held)
				must(t, b.Release(m.held[i]))
				m.held = slices.Delete(m.held, i, i+1)
				m.after(false)
			case op == 3 && len(m.waiting) > 0:
				i := int(arg) % len(m.waiting)
				cancels[i]()
				wantErr(t, <-served[i], context.Canceled)
				cancels, served = slices.Delete(cancels, i, i+1), slices.Delete(served, i, i+1)
				m.waiting = slices.Delete(m.waiting, i, i+1)
				m.after(false)
			}
			synctest.Wait()
			for len(served) > len(m.waiting) { // the model has granted the first of them
				must(t, <-served[0])
				cancels[0]()
				cancels, served = cancels[1:], served[1:]
			}
			g := b.Gauge()
			if g.Used != m.used() || g.State != m.state || g.Waiters != len(m.waiting) || g.Peak != m.peak {
				t.Fatalf("used %d, %s, %d wait, peak %d; want %d, %s, %d, %d", g.Used, g.State, g.Waiters, g.Peak,
					m.used(), m.state, len(m.waiting), m.peak)
			}
		}
		wantChanges(t, log, m.changes...)
		b.Close()
		for i, done := range served {
			wantErr(t, <-done, backpressure.ErrClosed)
			cancels[i]()
		}
	})
}

func TestBudgetFollowsModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 400)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		followModel(t, ops)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzBudget(f *testing.F) {
	f.Add([]byte{0, 99, 1, 49, 1, 9, 3, 0, 2, 0})
	f.Add([]byte{1, 59, 1, 79, 1, 9, 0, 0, 2, 0, 2, 0, 2, 0})
	f.Fuzz(followModel)
}

package backpressure_test

import (
	"sync"
	"testing"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

func benchBudget(b *testing.B, limit int64) *backpressure.Budget {
	b.Helper()
	budget, err := backpressure.NewBudget(backpressure.Config{Limit: limit})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return budget
}

// BenchmarkUncontended is one frame's way through a budget that is far from full.
func BenchmarkUncontended(b *testing.B) {
	budget := benchBudget(b, 256<<20)
	ctx := b.Context()
	for b.Loop() {
		if err := budget.Acquire(ctx, 256<<10); err != nil {
			b.Fatal(err)
		}
		if err := budget.Release(256 << 10); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTryAcquireFull is what a dropped frame costs.
func BenchmarkTryAcquireFull(b *testing.B) {
	budget := benchBudget(b, 1)
	if err := budget.TryAcquire(1); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if budget.TryAcquire(1) == nil {
			b.Fatal("granted")
		}
	}
}

// BenchmarkBatchRelease acquires 64 frames one by one and releases them at once.
func BenchmarkBatchRelease(b *testing.B) {
	budget := benchBudget(b, 256)
	for b.Loop() {
		for range 64 {
			if err := budget.TryAcquire(1); err != nil {
				b.Fatal(err)
			}
		}
		if err := budget.Release(64); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParallel is the budget between goroutines on all cores.
func BenchmarkParallel(b *testing.B) {
	budget := benchBudget(b, 1<<40)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if budget.TryAcquire(1) == nil {
				_ = budget.Release(1)
			}
		}
	})
}

// BenchmarkQueue passes elements from one goroutine to another.
func BenchmarkQueue(b *testing.B) {
	q, err := backpressure.NewQueue(backpressure.QueueConfig[int64]{
		Config: backpressure.Config{Limit: 1 << 20},
		Size:   func(n int64) int64 { return n },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ctx := b.Context()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := q.Get(ctx); err != nil {
				return
			}
		}
	})
	for b.Loop() {
		if _, err := q.Put(ctx, 1024); err != nil {
			b.Fatal(err)
		}
	}
	q.Close()
	wg.Wait()
}

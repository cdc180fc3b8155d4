package backpressure_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sluicedaq/sluice/pkg/backpressure"
)

// newBudget makes a budget of limit bytes and a log of its changes, such as "open→full@8".
func newBudget(t *testing.T, limit int64) (*backpressure.Budget, *changes) {
	t.Helper()
	log := &changes{}
	b, err := backpressure.NewBudget(backpressure.Config{Limit: limit, OnChange: log.add})
	if err != nil {
		t.Fatal(err)
	}
	return b, log
}

type changes struct {
	mu  sync.Mutex
	all []change
}

type change struct {
	From, To backpressure.State
	Used     int64
}

func (c *changes) add(t backpressure.Transition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, change{t.From, t.To, t.Used})
}

func (c *changes) take() []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check is must for goroutines, which may not end the test.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func wantChanges(t *testing.T, log *changes, want ...change) {
	t.Helper()
	if got := log.take(); !slices.Equal(got, want) {
		t.Fatalf("changes are %v, want %v", got, want)
	}
}

const (
	open      = backpressure.Open
	throttled = backpressure.Throttled
	full      = backpressure.Full
)

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]backpressure.Config{
		"no limit":       {},
		"negative limit": {Limit: -1},
		"high above one": {Limit: 1, High: 1.01},
		"negative high":  {Limit: 1, High: -0.1},
		"high is NaN":    {Limit: 1, High: math.NaN()},
		"low above high": {Limit: 1, High: 0.5, Low: 0.6},
		"negative low":   {Limit: 1, Low: -1},
		"low is NaN":     {Limit: 1, Low: math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backpressure.NewBudget(cfg)
			wantErr(t, err, backpressure.ErrConfig)
		})
	}
	b, err := backpressure.NewBudget(backpressure.Config{Limit: 1000, High: 0.3})
	must(t, err)
	if g := b.Gauge(); g.High != 300 || g.Low != 300 {
		t.Errorf("with High 0.3 alone the marks are %d and %d, want 300 and 300", g.High, g.Low)
	}
}

func TestStatesHaveHysteresis(t *testing.T) {
	b, log := newBudget(t, 100)
	steps := []struct {
		acquire, release int64
		want             []change
	}{
		{acquire: 75}, // at the mark, not above it
		{acquire: 1, want: []change{{open, throttled, 76}}}, //
		{release: 25}, // 51: above the low mark
		{acquire: 40}, // 91: throttled is not reported again
		{release: 41, want: []change{{throttled, open, 50}}}, //
		{acquire: 50, want: []change{{open, full, 100}}},     // both marks at once
		{release: 20}, // 80: full does not become throttled
		{release: 29}, // 51
		{release: 1, want: []change{{full, open, 50}}},        //
		{acquire: 30, want: []change{{open, throttled, 80}}},  //
		{acquire: 20, want: []change{{throttled, full, 100}}}, //
		{release: 100, want: []change{{full, open, 0}}},       //
		{acquire: 0}, {release: 0}, {acquire: 50}, {release: 50}, // nothing happens below the marks
	}
	for i, s := range steps {
		if s.acquire > 0 {
			must(t, b.TryAcquire(s.acquire))
		}
		must(t, b.Release(s.release))
		if got := log.take(); !slices.Equal(got, s.want) {
			t.Fatalf("step %d: changes are %v, want %v", i, got, s.want)
		}
	}
	if g := b.Gauge(); g.Used != 0 || g.Peak != 100 {
		t.Errorf("used %d, peak %d; want 0, 100", g.Used, g.Peak)
	}
}

func TestTwoUnits(t *testing.T) {
	b, log := newBudget(t, 2*4096)
	must(t, b.TryAcquire(4096))
	wantChanges(t, log)
	must(t, b.TryAcquire(4096))
	wantChanges(t, log, change{open, full, 8192})
	wantErr(t, b.TryAcquire(4096), backpressure.ErrFull)
	wantChanges(t, log)
	must(t, b.Release(4096))
	wantChanges(t, log, change{full, open, 4096})
}

func TestRefusalIsFull(t *testing.T) {
	b, log := newBudget(t, 100)
	must(t, b.TryAcquire(60))
	wantErr(t, b.TryAcquire(41), backpressure.ErrFull)
	wantChanges(t, log, change{open, full, 60})
	must(t, b.Release(10))
	wantChanges(t, log, change{full, open, 50})
}

func TestBadSizesChangeNothing(t *testing.T) {
	b, log := newBudget(t, 100)
	must(t, b.TryAcquire(60))
	for _, n := range []int64{101, math.MaxInt64} {
		wantErr(t, b.TryAcquire(n), backpressure.ErrOversize)
		wantErr(t, b.Acquire(t.Context(), n), backpressure.ErrOversize)
		wantErr(t, b.Release(n), backpressure.ErrOverRelease)
	}
	for _, n := range []int64{-1, math.MinInt64} {
		wantErr(t, b.TryAcquire(n), backpressure.ErrSize)
		wantErr(t, b.Acquire(t.Context(), n), backpressure.ErrSize)
		wantErr(t, b.Release(n), backpressure.ErrSize)
	}
	wantErr(t, b.Release(61), backpressure.ErrOverRelease)
	wantChanges(t, log)
	if g := b.Gauge(); g.Used != 60 || g.State != open {
		t.Errorf("used %d, %s; want 60, open", g.Used, g.State)
	}
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := newBudget(t, 100)
		must(t, b.TryAcquire(60))
		var order []int64
		var wg sync.WaitGroup
		for _, n := range []int64{80, 10, 20} { // the first is large; the others would fit now
			wg.Go(func() {
				check(t, b.Acquire(t.Context(), n))
				order = append(order, n) // one at a time: synctest.Wait below
			})
			synctest.Wait()
		}
		wantChanges(t, log, change{open, full, 60})
		wantErr(t, b.TryAcquire(1), backpressure.ErrFull)
		if g := b.Gauge(); g.Waiters != 3 {
			t.Fatalf("%d waiters, want 3", g.Waiters)
		}
		must(t, b.Release(39)) // 79 free
		synctest.Wait()
		if len(order) != 0 {
			t.Fatalf("%v were served before 80 bytes were free", order)
		}
		must(t, b.Release(1)) // 80 free, 20 used: the low mark, but they are given away at once
		synctest.Wait()
		if !slices.Equal(order, []int64{80}) {
			t.Fatalf("served %v, want 80 only", order)
		}
		wantChanges(t, log)
		must(t, b.Release(10))
		synctest.Wait()
		must(t, b.Release(20))
		wg.Wait()
		if !slices.Equal(order, []int64{80, 10, 20}) {
			t.Fatalf("served %v", order)
		}
		wantChanges(t, log)
		must(t, b.Release(100))
		wantChanges(t, log, change{full, open, 0})
	})
}

func TestCancelledWaiterLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := newBudget(t, 100)
		must(t, b.TryAcquire(60))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { wantErr(t, b.Acquire(ctx, 80), context.DeadlineExceeded) })
		synctest.Wait()
		wg.Go(func() { check(t, b.Acquire(t.Context(), 10)) })
		wg.Wait()
		if g := b.Gauge(); g.Used != 70 || g.Waiters != 0 || g.State != full || g.Full != time.Second {
			t.Errorf("gauge is %+v", g)
		}
		wantChanges(t, log, change{open, full, 60})
		wantErr(t, b.Acquire(ctx, 1), context.DeadlineExceeded)
		wantErr(t, b.WaitOpen(ctx), context.DeadlineExceeded)
		must(t, b.Release(70))
		wantChanges(t, log, change{full, open, 0})
	})
}

func TestCloseRefusesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := newBudget(t, 100)
		must(t, b.TryAcquire(20))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { wantErr(t, b.Acquire(t.Context(), 90), backpressure.ErrClosed) })
		}
		synctest.Wait()
		wg.Go(func() { wantErr(t, b.WaitOpen(t.Context()), backpressure.ErrClosed) })
		synctest.Wait()
		b.Close()
		b.Close()
		wg.Wait()
		wantErr(t, b.Acquire(t.Context(), 1), backpressure.ErrClosed)
		wantErr(t, b.TryAcquire(1), backpressure.ErrClosed)
		wantErr(t, b.WaitOpen(t.Context()), backpressure.ErrClosed)
		must(t, b.Release(20))
		wantChanges(t, log, change{open, full, 20}, change{full, open, 20})
	})
}

func TestWaitOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := newBudget(t, 100)
		must(t, b.WaitOpen(t.Context()))
		must(t, b.TryAcquire(100))
		var passed atomic.Int32
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { check(t, b.WaitOpen(t.Context())); passed.Add(1) })
		}
		synctest.Wait()
		must(t, b.Release(49))
		synctest.Wait()
		if passed.Load() != 0 {
			t.Fatal("passed above the low mark")
		}
		must(t, b.Release(1))
		wg.Wait()
	})
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := newBudget(t, 100)
		start := time.Now()
		<-time.After(time.Second) // of the bubble's clock
		must(t, b.TryAcquire(80))
		<-time.After(2 * time.Second)
		must(t, b.TryAcquire(20))
		<-time.After(3 * time.Second)
		must(t, b.Release(100))
		<-time.After(time.Second)
		must(t, b.TryAcquire(80))
		<-time.After(4 * time.Second)
		want := backpressure.Gauge{
			Used: 80, Limit: 100, Peak: 100, High: 75, Low: 50, State: throttled,
			Since: start.Add(7 * time.Second), Throttled: 6 * time.Second, Full: 3 * time.Second,
		}
		if d := cmp.Diff(want, b.Gauge()); d != "" {
			t.Error(d)
		}
	})
}

// TestOnChangeMayUseTheBudget shows that changes made by OnChange follow the one that it was called for.
func TestOnChangeMayUseTheBudget(t *testing.T) {
	var b *backpressure.Budget
	var seen []change
	b, err := backpressure.NewBudget(backpressure.Config{Limit: 10, OnChange: func(c backpressure.Transition) {
		before := len(seen)
		if c.To == full {
			must(t, b.Release(10))
		}
		if len(seen) != before {
			t.Error("OnChange was called while it ran")
		}
		seen = append(seen, change{c.From, c.To, c.Used})
	}})
	must(t, err)
	must(t, b.TryAcquire(10))
	if want := []change{{open, full, 10}, {full, open, 0}}; !slices.Equal(seen, want) {
		t.Errorf("changes are %v, want %v", seen, want)
	}
}

// TestConcurrentUse holds the limit and the order of changes against goroutines that really run in parallel.
func TestConcurrentUse(t *testing.T) {
	const limit, workers, rounds = 64, 8, 3000
	var inUse, most atomic.Int64
	log := &changes{}
	b, err := backpressure.NewBudget(backpressure.Config{Limit: limit, OnChange: log.add})
	must(t, err)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				n := int64((w*rounds+i)%limit + 1)
				switch {
				case i%5 == 0:
					if b.TryAcquire(n) != nil {
						continue
					}
				case i%7 == 0:
					ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
					err := b.Acquire(ctx, n)
					cancel()
					if err != nil {
						continue
					}
				default:
					if err := b.Acquire(t.Context(), n); err != nil {
						t.Error(err)
						return
					}
				}
				now := inUse.Add(n)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				inUse.Add(-n)
				if err := b.Release(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > limit {
		t.Errorf("%d bytes were in use of %d", most.Load(), limit)
	}
	if g := b.Gauge(); g.Used != 0 || g.State != open || g.Waiters != 0 || g.Peak > limit {
		t.Errorf("at the end: %+v", g)
	}
	last := open
	for i, c := range log.take() {
		if c.From != last || c.To == c.From {
			t.Fatalf("change %d is %v after %s", i, c, last)
		}
		last = c.To
	}
	if last != open {
		t.Errorf("the last change was to %s", last)
	}
}

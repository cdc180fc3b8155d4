package backpressure_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

// item is a queue's element of n bytes; id tells it from others.
type item struct {
	id int
	n  int64
}

func newQueue(t *testing.T, limit int64, p backpressure.Policy) (*backpressure.Queue[item], *changes) {
	t.Helper()
	log := &changes{}
	q, err := backpressure.NewQueue(backpressure.QueueConfig[item]{
		Config: backpressure.Config{Limit: limit, OnChange: log.add},
		Size:   func(i item) int64 { return i.n },
		Policy: p,
	})
	must(t, err)
	return q, log
}

// put puts items of n bytes with the given ids and returns the ids of what was dropped.
func put(t *testing.T, q *backpressure.Queue[item], n int64, ids ...int) (dropped []int) {
	t.Helper()
	for _, id := range ids {
		d, err := q.Put(t.Context(), item{id, n})
		must(t, err)
		for _, i := range d {
			dropped = append(dropped, i.id)
		}
	}
	return dropped
}

// drain closes q and returns the ids of what it still had.
func drain(t *testing.T, q *backpressure.Queue[item]) (ids []int) {
	t.Helper()
	q.Close()
	for {
		i, err := q.Get(t.Context())
		if errors.Is(err, io.EOF) {
			return ids
		}
		must(t, err)
		ids = append(ids, i.id)
	}
}

func TestQueuePolicies(t *testing.T) {
	for _, c := range []struct {
		policy     backpressure.Policy
		dropped    []int
		left       []int
		lastDrops  []int // by an element of three units after that
		leftAtLast []int
	}{
		{backpressure.DropNewest, []int{4, 5}, []int{1, 2, 3}, []int{9}, []int{2, 3}},
		{backpressure.DropOldest, []int{1, 2}, []int{3, 4, 5}, []int{4, 5}, []int{9}},
		{backpressure.Latest, []int{1, 2}, []int{5, 4, 3}, []int{3, 4}, []int{9}},
	} {
		t.Run(c.policy.String(), func(t *testing.T) {
			q, log := newQueue(t, 30, c.policy)
			if got := put(t, q, 10, 1, 2, 3, 4, 5); !slices.Equal(got, c.dropped) {
				t.Errorf("dropped %v, want %v", got, c.dropped)
			}
			wantChanges(t, log, change{open, full, 30}) // once, not for each drop
			g := q.Gauge()
			if g.Len != 3 || g.Used != 30 || g.Dropped != 2 || g.DroppedBytes != 20 || g.Policy != c.policy {
				t.Errorf("gauge is %+v", g)
			}
			i, err := q.Get(t.Context())
			must(t, err)
			if i.id != c.left[0] {
				t.Errorf("got %d, want %d", i.id, c.left[0])
			}
			if got := put(t, q, 30, 9); !slices.Equal(got, c.lastDrops) {
				t.Errorf("dropped %v, want %v", got, c.lastDrops)
			}
			if got := drain(t, q); !slices.Equal(got, c.leftAtLast) {
				t.Errorf("left %v, want %v", got, c.leftAtLast)
			}
			if g := q.Gauge(); g.Used != 0 || g.Len != 0 {
				t.Errorf("gauge is %+v", g)
			}
		})
	}
}

func TestQueueBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, log := newQueue(t, 30, backpressure.Block)
		put(t, q, 10, 1, 2, 3)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := q.Put(ctx, item{4, 10})
			wantErr(t, err, context.Canceled)
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		wg.Go(func() {
			_, err := q.Put(t.Context(), item{5, 10})
			check(t, err)
		})
		synctest.Wait()
		if g := q.Gauge(); g.Len != 3 || g.Waiters != 1 {
			t.Fatalf("gauge is %+v", g)
		}
		i, err := q.Get(t.Context())
		must(t, err)
		if i.id != 1 {
			t.Errorf("got %d, want 1", i.id)
		}
		wg.Wait()
		wg.Go(func() {
			_, err := q.Put(t.Context(), item{6, 10})
			wantErr(t, err, backpressure.ErrClosed)
		})
		synctest.Wait()
		if got, want := drain(t, q), []int{2, 3, 5}; !slices.Equal(got, want) {
			t.Errorf("left %v, want %v", got, want)
		}
		wg.Wait()
		wantChanges(t, log, change{open, full, 30}, change{full, open, 10})
		_, err = q.Put(t.Context(), item{7, 10})
		wantErr(t, err, backpressure.ErrClosed)
	})
}

func TestQueueRefusesBadSizes(t *testing.T) {
	for _, p := range []backpressure.Policy{backpressure.Block, backpressure.DropNewest, backpressure.DropOldest, backpressure.Latest} {
		q, log := newQueue(t, 30, p)
		put(t, q, 10, 1)
		for n, want := range map[int64]error{31: backpressure.ErrOversize, 0: backpressure.ErrSize, -1: backpressure.ErrSize} {
			dropped, err := q.Put(t.Context(), item{2, n})
			wantErr(t, err, want)
			if dropped != nil {
				t.Errorf("%s: %v dropped beside an error", p, dropped)
			}
		}
		wantChanges(t, log)
		if got := drain(t, q); !slices.Equal(got, []int{1}) {
			t.Errorf("%s: left %v", p, got)
		}
		_, err := q.Put(t.Context(), item{3, 1})
		wantErr(t, err, backpressure.ErrClosed)
	}
}

func TestQueueConfigIsChecked(t *testing.T) {
	size := func(item) int64 { return 1 }
	for name, cfg := range map[string]backpressure.QueueConfig[item]{
		"no size":   {Config: backpressure.Config{Limit: 1}},
		"no limit":  {Size: size},
		"no policy": {Config: backpressure.Config{Limit: 1}, Size: size, Policy: 4},
	} {
		_, err := backpressure.NewQueue(cfg)
		if !errors.Is(err, backpressure.ErrConfig) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestGetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := newQueue(t, 30, backpressure.DropNewest)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan int)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				i, err := q.Get(t.Context())
				check(t, err)
				got <- i.id
			})
		}
		wg.Go(func() {
			_, err := q.Get(ctx)
			wantErr(t, err, context.Canceled)
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		put(t, q, 10, 1, 2, 3) // one token, three getters
		ids := []int{<-got, <-got, <-got}
		slices.Sort(ids)
		if !slices.Equal(ids, []int{1, 2, 3}) {
			t.Errorf("got %v", ids)
		}
		for range 2 {
			wg.Go(func() {
				if _, err := q.Get(t.Context()); !errors.Is(err, io.EOF) {
					t.Errorf("error is %v, want io.EOF", err)
				}
			})
		}
		synctest.Wait()
		q.Close()
		q.Close()
		wg.Wait()
		if _, err := q.Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v: a cancelled context comes first", err)
		}
	})
}

// TestOnChangeMayUseTheQueue would deadlock if changes were reported under the queue's lock.
func TestOnChangeMayUseTheQueue(t *testing.T) {
	for _, p := range []backpressure.Policy{backpressure.Block, backpressure.DropNewest, backpressure.DropOldest, backpressure.Latest} {
		var q *backpressure.Queue[item]
		var lens []int
		q, err := backpressure.NewQueue(backpressure.QueueConfig[item]{
			Config: backpressure.Config{Limit: 30, OnChange: func(backpressure.Transition) { lens = append(lens, q.Gauge().Len) }},
			Size:   func(i item) int64 { return i.n },
			Policy: p,
		})
		must(t, err)
		put(t, q, 15, 1, 2)
		drain(t, q)
		if len(lens) != 2 || lens[1] != 1 {
			t.Errorf("%s: OnChange saw lengths %v", p, lens)
		}
	}
}

// TestQueueLosesNothing puts and gets in parallel: each element comes out exactly once, or was dropped.
func TestQueueLosesNothing(t *testing.T) {
	const putters, getters, each = 4, 3, 2000
	for _, p := range []backpressure.Policy{backpressure.Block, backpressure.DropNewest, backpressure.DropOldest, backpressure.Latest} {
		t.Run(p.String(), func(t *testing.T) {
			q, _ := newQueue(t, 64, p)
			var mu sync.Mutex
			var out, dropped []int
			var in, gets sync.WaitGroup
			for w := range putters {
				in.Go(func() {
					for i := range each {
						d, err := q.Put(t.Context(), item{w*each + i, int64(i%64 + 1)})
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						for _, i := range d {
							dropped = append(dropped, i.id)
						}
						mu.Unlock()
					}
				})
			}
			for range getters {
				gets.Go(func() {
					for {
						i, err := q.Get(t.Context())
						if err != nil {
							if !errors.Is(err, io.EOF) {
								t.Error(err)
							}
							return
						}
						mu.Lock()
						out = append(out, i.id)
						mu.Unlock()
					}
				})
			}
			in.Wait()
			q.Close()
			gets.Wait()
			g := q.Gauge()
			if g.Dropped != uint64(len(dropped)) || p == backpressure.Block && g.Dropped != 0 {
				t.Errorf("%d counted, %d returned as dropped", g.Dropped, len(dropped))
			}
			all := slices.Concat(out, dropped)
			slices.Sort(all)
			if len(all) != putters*each || len(slices.Compact(all)) != putters*each {
				t.Errorf("%d elements came back of %d", len(all), putters*each)
			}
			if g.Used != 0 || g.Len != 0 || g.Peak > 64 {
				t.Errorf("gauge is %+v", g)
			}
		})
	}
}

// followQueueModel compares a queue that drops with slices.
func followQueueModel(t *testing.T, p backpressure.Policy, ops []byte) {
	const limit = 50
	q, _ := newQueue(t, limit, p)
	var want []item
	used := func() (sum int64) {
		for _, i := range want {
			sum += i.n
		}
		return sum
	}
	for id, op := range ops {
		if op < 96 && len(want) > 0 {
			next := want[0]
			if p == backpressure.Latest {
				next = want[len(want)-1]
			}
			got, err := q.Get(t.Context())
			must(t, err)
			if got != next {
				t.Fatalf("got %v, want %v", got, next)
			}
			want = slices.DeleteFunc(want, func(i item) bool { return i == next })
			continue
		}
		v := item{id, int64(op)%limit + 1}
		var drops []item
		if p == backpressure.DropNewest && used()+v.n > limit {
			drops = []item{v}
		} else {
			for want = append(want, v); used() > limit; want = want[1:] {
				drops = append(drops, want[0])
			}
		}
		dropped, err := q.Put(t.Context(), v)
		must(t, err)
		if !slices.Equal(dropped, drops) {
			t.Fatalf("dropped %v, want %v", dropped, drops)
		}
		g := q.Gauge()
		if g.Used != used() || g.Len != len(want) {
			t.Fatalf("gauge is %+v, want %d bytes in %d", g, used(), len(want))
		}
		if (len(drops) > 0 || used() == limit) && g.State != full {
			t.Fatalf("%s although %v were dropped and %d bytes are used", g.State, drops, used())
		}
	}
}

func TestQueueFollowsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, p := range []backpressure.Policy{backpressure.DropNewest, backpressure.DropOldest, backpressure.Latest} {
		for range 100 {
			ops := make([]byte, 300)
			for i := range ops {
				ops[i] = byte(r.Uint32())
			}
			followQueueModel(t, p, ops)
		}
	}
}

func FuzzQueue(f *testing.F) {
	f.Add(uint8(0), []byte{120, 130, 140, 0, 150, 160, 0, 0, 0})
	f.Add(uint8(1), []byte{149, 149, 149, 0, 99, 99, 255, 0})
	f.Add(uint8(2), []byte{100, 100, 100, 0, 99, 0, 249, 0})
	f.Fuzz(func(t *testing.T, p uint8, ops []byte) {
		followQueueModel(t, []backpressure.Policy{backpressure.DropNewest, backpressure.DropOldest, backpressure.Latest}[p%3], ops)
	})
}

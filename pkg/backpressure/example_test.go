package backpressure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

// A budget of four frames reports its changes; what does not fit is refused at once.
func ExampleBudget() {
	const frame = 8 << 20
	budget, err := backpressure.NewBudget(backpressure.Config{
		Limit: 4 * frame,
		OnChange: func(t backpressure.Transition) {
			fmt.Printf("%s → %s at %d of %d MiB\n", t.From, t.To, t.Used>>20, t.Limit>>20)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 5 {
		if err := budget.TryAcquire(frame); err != nil {
			fmt.Printf("frame %d: %v\n", i, err)
		}
	}
	for range 4 { // the consumer is done with them
		if err := budget.Release(frame); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// open → full at 32 of 32 MiB
	// frame 4: budget full
	// full → open at 16 of 32 MiB
}

// Acquire waits in line, as long as the context allows.
func ExampleBudget_Acquire() {
	budget, err := backpressure.NewBudget(backpressure.Config{Limit: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(budget.Acquire(context.Background(), 700))

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(budget.Acquire(ctx, 700))
	fmt.Println(budget.Acquire(ctx, 2000))
	// Output:
	// <nil>
	// waiting for 700 bytes: context deadline exceeded
	// acquiring 2000 bytes of 1000: larger than the whole budget
}

// A source that can stop does so at full, and goes on at the low watermark.
func ExampleBudget_WaitOpen() {
	budget, err := backpressure.NewBudget(backpressure.Config{Limit: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	held := make(chan int, 2)
	for seq := range 4 {
		if errors.Is(budget.TryAcquire(1), backpressure.ErrFull) {
			fmt.Println("paused before frame", seq)
			go func() { // a consumer that wakes up late
				<-held
				_ = budget.Release(1)
			}()
			if err := budget.WaitOpen(context.Background()); err != nil {
				fmt.Println(err)
				return
			}
			if err := budget.Acquire(context.Background(), 1); err != nil {
				fmt.Println(err)
				return
			}
		}
		held <- seq
	}
	fmt.Println(budget.Gauge().Used, "in use,", budget.Gauge().State)
	// Output:
	// paused before frame 2
	// paused before frame 3
	// 2 in use, full
}

// A consumer that shows live images wants the newest, and to know how many it did not see.
func ExampleQueue() {
	q, err := backpressure.NewQueue(backpressure.QueueConfig[string]{
		Config: backpressure.Config{Limit: 8},
		Size:   func(s string) int64 { return int64(len(s)) },
		Policy: backpressure.Latest,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for _, s := range []string{"one", "two", "three", "four"} {
		dropped, err := q.Put(ctx, s)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, d := range dropped {
			fmt.Println("dropped", d)
		}
	}
	q.Close()
	for {
		s, err := q.Get(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		fmt.Println("got", s)
	}
	fmt.Println(q.Gauge().Dropped, "dropped,", q.Gauge().DroppedBytes, "bytes")
	// Output:
	// dropped one
	// dropped two
	// dropped three
	// got four
	// 3 dropped, 11 bytes
}

// The policy of a run is a word in its configuration.
func ExampleParseOnFull() {
	o, err := backpressure.ParseOnFull("drop")
	fmt.Println(o, err)
	fmt.Println(backpressure.Default.For(true), backpressure.Default.For(false))
	// Output:
	// drop <nil>
	// pause drop
}

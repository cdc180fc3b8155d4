package backpressure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// QueueConfig is what a [Queue] is made of.
type QueueConfig[T any] struct {
	// Config bounds the bytes of the elements in the queue. Its OnChange may use the queue.
	Config
	// Size is an element's size in bytes, at least 1. It is asked once, by Put.
	Size func(T) int64
	// Policy says what happens to an element that does not fit.
	Policy Policy
}

// Queue holds elements whose sizes add up to at most its limit. All methods may be called concurrently.
type Queue[T any] struct {
	budget *Budget
	size   func(T) int64
	policy Policy
	signal chan struct{} // holds one token while a getter should look
	done   chan struct{} // closed by Close

	mu           sync.Mutex // guards what follows; taken before the budget's
	elements     ring[element[T]]
	closed       bool
	dropped      uint64
	droppedBytes int64
}

type element[T any] struct {
	v T
	n int64
}

// QueueGauge is a queue at one moment.
type QueueGauge struct {
	Gauge
	Policy Policy
	// Len is the number of elements in the queue.
	Len int
	// Dropped counts the elements that the policy has dropped, DroppedBytes their sizes.
	Dropped      uint64
	DroppedBytes int64
}

// NewQueue makes an empty queue. The error wraps [ErrConfig].
func NewQueue[T any](cfg QueueConfig[T]) (*Queue[T], error) {
	if cfg.Size == nil {
		return nil, fmt.Errorf("%w: Size is nil", ErrConfig)
	}
	if int(cfg.Policy) >= len(policyNames) {
		return nil, fmt.Errorf("%w: Policy is %s", ErrConfig, cfg.Policy)
	}
	b, err := NewBudget(cfg.Config)
	if err != nil {
		return nil, err
	}
	return &Queue[T]{
		budget: b,
		size:   cfg.Size,
		policy: cfg.Policy,
		signal: make(chan struct{}, 1),
		done:   make(chan struct{}),
	}, nil
}

// Put adds v. What the policy dropped for want of bytes is returned, v itself where it is DropNewest: it is the
// caller's again. Only the policy Block waits, and only there the context counts. When the error is not nil
// nothing was added and nothing dropped; it wraps the context's, [ErrOversize], [ErrSize] or [ErrClosed].
// Elements of concurrent calls are in no particular order.
func (q *Queue[T]) Put(ctx context.Context, v T) (dropped []T, err error) {
	n := q.size(v)
	if n < 1 {
		return nil, fmt.Errorf("queueing an element of %d bytes: %w", n, ErrSize)
	}
	if err := q.budget.check(n); err != nil {
		return nil, err
	}
	if q.policy == Block {
		return nil, q.putBlocking(ctx, element[T]{v, n})
	}
	q.mu.Lock()
	dropped, err = q.putLocked(element[T]{v, n})
	q.mu.Unlock()
	q.budget.deliver()
	return dropped, err
}

func (q *Queue[T]) putBlocking(ctx context.Context, e element[T]) error {
	if err := q.budget.Acquire(ctx, e.n); err != nil {
		return err
	}
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.elements.push(e)
		q.wake()
	}
	q.mu.Unlock()
	if closed {
		return errors.Join(ErrClosed, q.budget.Release(e.n))
	}
	return nil
}

// putLocked adds or drops. It is called with the lock held, and leaves the budget's changes to be delivered
// after that.
func (q *Queue[T]) putLocked(e element[T]) ([]T, error) {
	q.budget.mu.Lock()
	defer q.budget.mu.Unlock()
	err := q.budget.tryLocked(e.n)
	switch {
	case errors.Is(err, ErrFull) && q.policy == DropNewest:
		q.dropped++
		q.droppedBytes += e.n
		return []T{e.v}, nil
	case errors.Is(err, ErrFull):
		dropped := q.exchange(e)
		q.wake()
		return dropped, nil
	case err != nil:
		return nil, err
	}
	q.elements.push(e)
	q.wake()
	return nil, nil
}

// exchange drops the oldest elements until e fits, and adds it. It is one operation for the budget, which
// stays full all the time. Called with both locks held.
func (q *Queue[T]) exchange(e element[T]) []T {
	var dropped []T
	b := q.budget
	for e.n > b.limit-b.used {
		old := q.elements.popFront()
		dropped = append(dropped, old.v)
		q.dropped++
		q.droppedBytes += old.n
		b.used -= old.n
	}
	b.take(e.n)
	b.settle(true)
	q.elements.push(e)
	return dropped
}

// Get takes the next element out, and its bytes off the budget: the oldest one, or with the policy Latest the
// newest. It waits while the queue is empty. After Close it returns what is left and then [io.EOF]. Else the
// error wraps the context's, which is asked first.
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	var none T
	for {
		if err := ctx.Err(); err != nil {
			return none, fmt.Errorf("waiting for an element: %w", err)
		}
		q.mu.Lock()
		if q.elements.len() > 0 {
			v, err := q.pop()
			q.mu.Unlock()
			q.budget.deliver()
			return v, err
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return none, io.EOF
		}
		select {
		case <-q.signal:
		case <-q.done:
		case <-ctx.Done():
		}
	}
}

// pop takes an element out with the lock held, and leaves the budget's changes to be delivered after that.
func (q *Queue[T]) pop() (T, error) {
	e := q.elements.popNext(q.policy == Latest)
	if q.elements.len() > 0 {
		q.wake() // there may be another getter, and there is but one token
	}
	q.budget.mu.Lock()
	defer q.budget.mu.Unlock()
	return e.v, q.budget.releaseLocked(e.n)
}

// Close ends the queue: Put is refused with ErrClosed, also where it waits, and Get drains what is left. It may
// be called twice.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.done)
	}
	q.mu.Unlock()
	q.budget.Close()
}

// Gauge reads the queue.
func (q *Queue[T]) Gauge() QueueGauge {
	q.mu.Lock()
	defer q.mu.Unlock()
	return QueueGauge{
		Gauge:        q.budget.Gauge(),
		Policy:       q.policy,
		Len:          q.elements.len(),
		Dropped:      q.dropped,
		DroppedBytes: q.droppedBytes,
	}
}

// wake leaves a token for a getter. Called with the lock held.
func (q *Queue[T]) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

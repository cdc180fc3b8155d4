package backpressure

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Default watermarks, as shares of the limit.
const (
	DefaultHigh = 0.75
	DefaultLow  = 0.50
)

// Config is what a [Budget] is made of.
type Config struct {
	// Limit is the bound in bytes, at least 1.
	Limit int64
	// High and Low are the watermarks as shares of the limit, 0 < Low ≤ High ≤ 1. Zero means DefaultHigh and
	// DefaultLow. In bytes they are rounded down.
	High, Low float64
	// OnChange, if not nil, is called once for each change of state, in order and never twice at a time. It
	// runs outside of the budget's lock, in the goroutine of some caller of the budget: the one that made the
	// change, or one that is in OnChange for an earlier change already. It may call the budget; changes that
	// it makes are reported after it has returned. It should not block.
	OnChange func(Transition)
}

// Budget is a bounded number of bytes, shared by goroutines. All methods may be called concurrently.
type Budget struct {
	limit, high, low int64
	onChange         func(Transition)

	mu      sync.Mutex // guards what follows
	used    int64
	peak    int64
	waiters list.List // of *waiter, first come first
	closed  bool

	state  State
	since  time.Time
	spent  [Full + 1]time.Duration // in each state, the current stay not included
	opened chan struct{}           // closed at the next change to Open; nil when nobody waits for it

	pending    []Transition // not yet reported
	delivering bool         // a goroutine reports, and will go on until pending is empty
}

// waiter is a caller in Acquire. Whoever takes it from the list sets err and closes ready.
type waiter struct {
	n     int64
	err   error
	ready chan struct{}
}

// NewBudget makes a budget with nothing in use. The error wraps [ErrConfig].
func NewBudget(cfg Config) (*Budget, error) {
	if cfg.High == 0 {
		cfg.High = DefaultHigh
	}
	if cfg.Low == 0 {
		cfg.Low = min(DefaultLow, cfg.High)
	}
	switch {
	case cfg.Limit < 1:
		return nil, fmt.Errorf("%w: Limit of %d bytes is less than 1", ErrConfig, cfg.Limit)
	case !(cfg.High > 0 && cfg.High <= 1):
		return nil, fmt.Errorf("%w: High of %v is not in (0, 1]", ErrConfig, cfg.High)
	case !(cfg.Low > 0 && cfg.Low <= cfg.High):
		return nil, fmt.Errorf("%w: Low of %v is not in (0, High = %v]", ErrConfig, cfg.Low, cfg.High)
	}
	return &Budget{
		limit:    cfg.Limit,
		high:     int64(cfg.High * float64(cfg.Limit)),
		low:      int64(cfg.Low * float64(cfg.Limit)),
		onChange: cfg.OnChange,
		since:    time.Now(),
	}, nil
}

// Acquire takes n bytes, and waits for them behind those who came before. A nil error means that the caller
// has them. Otherwise it has nothing, and the error wraps the context's, [ErrOversize], [ErrSize] or
// [ErrClosed].
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if err := b.check(n); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("acquiring %d bytes: %w", n, err)
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if b.fits(n) {
		b.take(n)
		b.settle(false)
		b.unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	at := b.waiters.PushBack(w)
	b.settle(false)
	b.unlock()

	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	select {
	case <-w.ready: // granted or closed in the meantime, which counts
		b.mu.Unlock()
		return w.err
	default:
	}
	b.waiters.Remove(at)
	b.grant() // those behind may be smaller
	b.settle(false)
	b.unlock()
	return fmt.Errorf("waiting for %d bytes: %w", n, ctx.Err())
}

// TryAcquire takes n bytes if they are free and nobody waits for some already. Otherwise it returns ErrFull
// itself, and the state is [Full]; or an error wrapping [ErrOversize], [ErrSize] or [ErrClosed].
func (b *Budget) TryAcquire(n int64) error {
	if err := b.check(n); err != nil {
		return err
	}
	b.mu.Lock()
	err := b.tryLocked(n)
	b.unlock()
	return err
}

// Release gives n bytes back. The error wraps [ErrOverRelease] when fewer are used, or [ErrSize]; nothing
// has changed then. Bytes are given back after Close too.
func (b *Budget) Release(n int64) error {
	b.mu.Lock()
	err := b.releaseLocked(n)
	b.unlock()
	return err
}

// WaitOpen waits until the state is [Open]: nobody waits for bytes and at most the low watermark is used. A
// source that was stopped at Full goes on then. The state may have changed again when it returns. The error
// wraps the context's or [ErrClosed].
func (b *Budget) WaitOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting for an open budget: %w", err)
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if b.state == Open {
		b.mu.Unlock()
		return nil
	}
	if b.opened == nil {
		b.opened = make(chan struct{})
	}
	opened := b.opened
	b.mu.Unlock()

	select {
	case <-opened:
	case <-ctx.Done():
		return fmt.Errorf("waiting for an open budget: %w", ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	return nil
}

// Close refuses every further request and those that wait, with ErrClosed. Bytes in use can still be released.
// It may be called twice.
func (b *Budget) Close() {
	b.mu.Lock()
	b.closed = true
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		w := b.waiters.Remove(e).(*waiter)
		w.err = ErrClosed
		close(w.ready)
	}
	b.wakeOpened()
	b.settle(false)
	b.unlock()
}

// Gauge reads the budget.
func (b *Budget) Gauge() Gauge {
	b.mu.Lock()
	defer b.mu.Unlock()
	spent := b.spent
	if b.state != Open {
		spent[b.state] += time.Since(b.since)
	}
	return Gauge{
		Used: b.used, Limit: b.limit, Peak: b.peak, High: b.high, Low: b.low,
		State: b.state, Since: b.since, Waiters: b.waiters.Len(),
		Throttled: spent[Throttled], Full: spent[Full],
	}
}

// check refuses numbers of bytes that can never be had.
func (b *Budget) check(n int64) error {
	if n < 0 {
		return fmt.Errorf("acquiring %d bytes: %w", n, ErrSize)
	}
	if n > b.limit {
		return fmt.Errorf("acquiring %d bytes of %d: %w", n, b.limit, ErrOversize)
	}
	return nil
}

// The methods below are called with the lock held.

func (b *Budget) fits(n int64) bool { return b.waiters.Len() == 0 && n <= b.limit-b.used }

func (b *Budget) take(n int64) {
	b.used += n
	b.peak = max(b.peak, b.used)
}

func (b *Budget) tryLocked(n int64) error {
	switch {
	case b.closed:
		return ErrClosed
	case !b.fits(n):
		b.settle(true)
		return ErrFull
	}
	b.take(n)
	b.settle(false)
	return nil
}

func (b *Budget) releaseLocked(n int64) error {
	if n < 0 {
		return fmt.Errorf("releasing %d bytes: %w", n, ErrSize)
	}
	if n > b.used {
		return fmt.Errorf("releasing %d bytes of %d in use: %w", n, b.used, ErrOverRelease)
	}
	b.used -= n
	b.grant()
	b.settle(false)
	return nil
}

// grant gives the free bytes to waiters in their order, and stops at the first that does not fit.
func (b *Budget) grant() {
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		w := e.Value.(*waiter)
		if w.n > b.limit-b.used {
			return
		}
		b.take(w.n)
		b.waiters.Remove(e)
		close(w.ready)
	}
}

// settle finds the state after an operation; refused says that something did not fit.
func (b *Budget) settle(refused bool) {
	next := b.state
	switch {
	case refused || b.used == b.limit || b.waiters.Len() > 0:
		next = Full
	case b.used <= b.low:
		next = Open
	case b.used > b.high && b.state == Open:
		next = Throttled
	}
	if next == b.state {
		return
	}
	now := time.Now()
	b.spent[b.state] += now.Sub(b.since)
	if b.onChange != nil {
		b.pending = append(b.pending, Transition{From: b.state, To: next, Used: b.used, Limit: b.limit, Time: now})
	}
	b.state, b.since = next, now
	if next == Open {
		b.wakeOpened()
	}
}

func (b *Budget) wakeOpened() {
	if b.opened != nil {
		close(b.opened)
		b.opened = nil
	}
}

// unlock ends an operation and reports the changes that it made.
func (b *Budget) unlock() {
	report := len(b.pending) > 0
	b.mu.Unlock()
	if report {
		b.deliver()
	}
}

// deliver reports pending changes, without the lock. One goroutine does so at a time, which keeps the order;
// changes made meanwhile, by others or by OnChange itself, are left to it, so nobody waits for OnChange.
func (b *Budget) deliver() {
	b.mu.Lock()
	if b.delivering {
		b.mu.Unlock()
		return
	}
	b.delivering = true
	for len(b.pending) > 0 {
		batch := b.pending
		b.pending = nil
		b.mu.Unlock()
		for _, t := range batch {
			b.onChange(t)
		}
		b.mu.Lock()
	}
	b.delivering = false
	b.mu.Unlock()
}

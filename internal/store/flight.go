package store

import "sync"

// flight turns many requests for a sync into few: those that arrive while one runs go together into the next, and so do
// those whose writes are under way when its turn comes. It never waits for requests that have not begun.
type flight struct {
	mu      sync.Mutex
	next    *batch          // guarded by mu: what the next run will do
	writers *sync.WaitGroup // guarded by mu: those that have entered since the last run's turn came

	running chan struct{} // holds one token while run is at work
	run     func(records []byte) error
}

// batch is the requests of one run.
type batch struct {
	records []byte
	done    chan struct{}
	err     error // valid after done
}

func newFlight(run func(records []byte) error) *flight {
	return &flight{writers: &sync.WaitGroup{}, running: make(chan struct{}, 1), run: run}
}

// enter says that the caller begins to write what it will ask a sync for. The caller calls join with what enter returned,
// or Done where nothing comes of it.
func (f *flight) enter() *sync.WaitGroup {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writers.Add(1)
	return f.writers
}

// join has run called with records, among others, and returns the batch to wait for. writers is what enter returned, nil
// for who has not entered.
func (f *flight) join(records []byte, writers *sync.WaitGroup) *batch {
	if writers != nil {
		defer writers.Done()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = &batch{done: make(chan struct{})}
		go f.fly(f.next)
	}
	f.next.records = append(f.next.records, records...)
	return f.next
}

// fly runs a batch when its turn comes.
func (f *flight) fly(b *batch) {
	defer close(b.done)
	f.running <- struct{}{}
	defer func() { <-f.running }()
	f.mu.Lock()
	writers := f.writers
	f.writers = &sync.WaitGroup{}
	f.mu.Unlock()
	writers.Wait()
	f.mu.Lock()
	f.next = nil
	f.mu.Unlock()
	b.err = f.run(b.records)
}

// wait returns what run has returned. The wait can't be interrupted, since nobody knows what an interrupted sync has done.
func (b *batch) wait() error {
	<-b.done
	return b.err
}

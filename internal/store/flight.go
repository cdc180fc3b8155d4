package store

import "sync"

// flight turns many requests for a sync into few: those that arrive while one runs go together into the next.
// It never waits for more requests.
type flight struct {
	mu   sync.Mutex
	next *batch // guarded by mu: what the next run will do

	running chan struct{} // holds one token while run is at work
	run     func(records []byte) error
}

type batch struct {
	records []byte
	done    chan struct{}
	err     error // valid after done
}

func newFlight(run func(records []byte) error) *flight {
	return &flight{running: make(chan struct{}, 1), run: run}
}

// do returns what run, called with records among others after do was called, has returned. It may be called
// concurrently; the wait can't be interrupted, since nobody knows what an interrupted sync has done.
func (f *flight) do(records []byte) error {
	f.mu.Lock()
	lead := f.next == nil
	if lead {
		f.next = &batch{done: make(chan struct{})}
	}
	b := f.next
	b.records = append(b.records, records...)
	f.mu.Unlock()

	if lead {
		f.running <- struct{}{}
		f.mu.Lock()
		f.next = nil
		f.mu.Unlock()
		b.err = f.run(b.records)
		<-f.running
		close(b.done)
	}
	<-b.done
	return b.err
}

package capture

import "sync"

// toggle is a switch that can be waited for.
type toggle struct {
	mu      sync.Mutex // guards both
	on      bool
	changed chan struct{}
}

func newToggle() *toggle { return &toggle{changed: make(chan struct{})} }

// set reports whether that changed anything.
func (t *toggle) set(on bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on == on {
		return false
	}
	t.on = on
	close(t.changed)
	t.changed = make(chan struct{})
	return true
}

// get returns the state, and a channel that is closed when it changes.
func (t *toggle) get() (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.on, t.changed
}

package writer

import (
	"errors"
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// ErrNotMine marks a result that another writer keeps, or none: this one is not the run's primary, or has no store.
var ErrNotMine = errors.New("not the primary writer of the run")

// Result keeps an analyser's result of a run in its store, if this writer is the primary. With sync it is durable on
// return. The error wraps ErrNotMine where it is for somebody else.
func (w *Writer) Result(kind string, run frames.RunID, result []byte, sync bool) error {
	r := w.current()
	if r == nil || r.spec.Run != run {
		return fmt.Errorf("keep a result of run %s: %w", run.Short(), ErrNotMine)
	}
	r.results.Lock()
	defer r.results.Unlock()
	r.mu.Lock()
	s, mine := r.store, r.armed.Primary == w.cfg.Name && !r.failed && !r.over
	r.mu.Unlock()
	if s == nil || !mine {
		return fmt.Errorf("keep a result of run %s: %w", run.Short(), ErrNotMine)
	}
	return s.AppendResult(kind, result, sync)
}

// mine reports whether this writer keeps the results of a run.
func (w *Writer) mine(run frames.RunID) bool {
	r := w.current()
	if r == nil || r.spec.Run != run {
		return false
	}
	return r.order().Primary == w.cfg.Name
}

// endResults waits for a result that is being kept, and lets no more in.
func (r *activeRun) endResults() {
	r.results.Lock()
	defer r.results.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

package writer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Config is what a Writer needs.
type Config struct {
	// Root is the folder below which stores are made, the only one that the writer touches. It is made where
	// it is not there; its parent must exist.
	Root string
	// Name is the writer's name among the camera's members; its ledger is called so.
	Name string
	// FS is the disk; nil means the real one.
	FS     vfs.FS
	Logger *slog.Logger
	// Refusals takes down what is not taken; nil is nobody.
	Refusals *refusal.Book
	// Leave, when closed, asks the writer to go: at once without a run, else when the run is over.
	Leave <-chan struct{}
	// LeaveTimeout is how long Leave waits for a run that no frame moves in (default 60 s).
	LeaveTimeout time.Duration
	// OpenTimeout is how long a writer that is not the primary waits for the store to be there (default 8 s).
	OpenTimeout time.Duration
	// CommitBytes is the most pixels that one commit takes (default [store.GatherBytes]: a commit is one write).
	CommitBytes int
	// Encoders is how many frames are compressed at a time (default: the processors that Go's scheduler uses).
	Encoders int
}

// Writer is one writer process. Its methods may be called concurrently; Run is called once.
type Writer struct {
	cfg   Config
	meter *meter

	mu   sync.Mutex // guards what follows
	run  *activeRun // nil between runs
	stop func()     // ends Run; nil before it
	err  error      // why Run ends, where that is not asked for
	last time.Time  // when anything came from or went to the link
}

// New checks the configuration and makes the root.
func New(cfg Config) (*Writer, error) {
	if err := frames.ValidCamera(cfg.Name); err != nil { // members are named as cameras are
		return nil, fmt.Errorf("%w: the name: %w", ErrConfig, err)
	}
	if cfg.Root == "" {
		return nil, fmt.Errorf("%w: the folder for the stores is missing", ErrConfig)
	}
	if cfg.FS == nil {
		cfg.FS = vfs.OS{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&cfg.LeaveTimeout, 60*time.Second)
	set(&cfg.OpenTimeout, 8*time.Second)
	if cfg.CommitBytes <= 0 {
		cfg.CommitBytes = store.GatherBytes
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	cfg.Root = root
	if err := makeRoot(cfg.FS, root); err != nil {
		return nil, fmt.Errorf("%w: the folder for the stores: %w", ErrConfig, err)
	}
	return &Writer{cfg: cfg, meter: newMeter(), last: time.Now()}, nil
}

func makeRoot(fs vfs.FS, root string) error {
	info, err := fs.Stat(root)
	switch {
	case vfs.IsNotExist(err):
		if err := fs.Mkdir(root); err != nil && !vfs.IsExist(err) {
			return err
		}
		return fs.SyncDir(filepath.Dir(root))
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", root)
	}
	return nil
}

// Run works for the members' link until ctx ends, Leave is closed and the run over, or the link has no more. It then
// gives up its shards as they are: what is durable stays so, and the rest was never released. It returns nil after
// Leave and after the end of ctx, and an error that wraps ErrDisk after a failed write or sync.
func (w *Writer) Run(ctx context.Context, rx link.Receiver) error {
	next, stop := context.WithCancel(ctx)
	w.mu.Lock()
	w.stop = stop
	w.mu.Unlock()
	var watching sync.WaitGroup
	watching.Go(func() {
		defer stop()
		w.awaitLeave(next)
	})
	defer watching.Wait()
	defer stop()
	defer w.setRun(nil)
	for {
		d, err := rx.Next(next)
		if err != nil {
			if next.Err() != nil {
				return w.reason()
			}
			return fmt.Errorf("receiving: %w", err)
		}
		w.touch()
		w.deliver(ctx, rx, d)
	}
}

// end has Run return err.
func (w *Writer) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.stop()
}

func (w *Writer) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// awaitLeave returns when the writer may go.
func (w *Writer) awaitLeave(ctx context.Context) {
	select {
	case <-w.cfg.Leave: // never, where it is nil
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		over, idle := w.run == nil, time.Since(w.last)
		w.mu.Unlock()
		if over {
			return
		}
		if idle > w.cfg.LeaveTimeout {
			w.cfg.Logger.Warn("leaving a run that is not over", "idle", idle)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Writer) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.Now()
}

// deliver handles one message. It does not wait for the disk, except to give up a run.
func (w *Writer) deliver(ctx context.Context, rx link.Receiver, d link.Delivery) {
	r := w.current()
	switch {
	case d.Kind == frames.KindArmed:
		w.armed(ctx, rx, *d.Armed)
	case d.Kind == frames.KindClosed:
		if r != nil && r.spec.Run == d.Closed.Run {
			if r.maker() && !d.Closed.Left {
				r.discard()
			}
			w.setRun(nil)
		}
	case r == nil:
		w.cfg.Logger.Debug("message without a run", "kind", d.Kind)
	default:
		r.deliver(d)
	}
}

// armed begins a run, or confirms the one that goes on after acquire was away. A run that another takes the place of,
// and whose frames nobody can offer any more, leaves no empty store.
func (w *Writer) armed(ctx context.Context, rx link.Receiver, a link.Armed) {
	if r := w.current(); r != nil {
		if r.spec.Run == a.Spec.Run && r.spec.Store == a.Spec.Store && r.alive() {
			r.rearm(a)
			return
		}
		if w.leftBehind(r, a) {
			r.discard()
		}
	}
	w.setRun(nil)
	r := newRun(ctx, w, rx, a)
	w.setRun(r)
	r.start()
}

// leftBehind reports whether the store of a run is this writer's to remove, if it is empty, since nobody can offer the
// run's frames after a is armed. One writer alone may do that: who made the store, or where the next one is to have
// the same name, who makes that.
func (w *Writer) leftBehind(r *activeRun, a link.Armed) bool {
	if _, err := os.Lstat(r.order().Slab); !errors.Is(err, os.ErrNotExist) {
		return false
	}
	if a.Spec.Store == r.spec.Store {
		return a.Primary == w.cfg.Name
	}
	return r.maker()
}

func (w *Writer) current() *activeRun {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.run
}

// setRun replaces the run; the old one is over when it returns, and reads no pixels any more.
func (w *Writer) setRun(r *activeRun) {
	w.mu.Lock()
	old := w.run
	w.run = nil
	w.mu.Unlock()
	if old != nil {
		if err := old.stop(); err != nil {
			w.cfg.Logger.Warn("closing the store", "error", err)
		}
	}
	w.mu.Lock()
	w.run = r
	w.mu.Unlock()
}

// Claims lists the shards that the writer owns and has not sealed: what it says when it joins again.
func (w *Writer) Claims() (frames.RunID, []link.Claim) {
	if r := w.current(); r != nil && r.alive() {
		return r.spec.Run, r.claims()
	}
	return frames.RunID{}, nil
}

// checkName refuses a store's name that could lead out of the root.
func checkName(name string) error {
	const longest = 200 // a file system takes 255 bytes, and some names get an end
	if len(name) > longest {
		return fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrName, len(name), longest)
	}
	if name == "" || name != filepath.Base(name) || name[0] == '.' || !filepath.IsLocal(name) {
		return fmt.Errorf("%w: %q is not a plain folder name", ErrName, name)
	}
	if refusal.Plain(name) != name {
		return fmt.Errorf("%w: %q has control characters", ErrName, name)
	}
	return nil
}

package writer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// openPause is how long a writer waits before it looks again for a store that is not there yet.
const openPause = 20 * time.Millisecond

// open makes or opens the run's store. usage is set where the error is the user's to mend. A writer that is not the
// primary waits for the store, until it is there or the writer becomes the primary.
func (r *activeRun) open(ctx context.Context) (s *store.Store, usage bool, err error) {
	if err := checkName(r.spec.Store); err != nil {
		return nil, true, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.w.cfg.OpenTimeout)
	defer cancel()
	path := filepath.Join(r.w.cfg.Root, r.spec.Store)
	for {
		if err := r.noLink(path); err != nil {
			return nil, true, err
		}
		if a := r.order(); a.Primary == r.w.cfg.Name && !a.Resumed {
			return r.create(ctx, path, a.NeedBytes)
		}
		s, err := store.Open(ctx, r.w.cfg.FS, path, r.spec.Run, r.options())
		if err == nil {
			return s, false, nil
		}
		other := errors.Is(err, store.ErrOtherRun) // an empty one that the primary is about to replace, perhaps
		if !other && !errors.Is(err, store.ErrNotStore) {
			return nil, false, err
		}
		select {
		case <-ctx.Done():
			return nil, true, fmt.Errorf("%w; it did not appear within %s: do all writers see the same folder?", err, r.w.cfg.OpenTimeout)
		case <-time.After(openPause):
		}
	}
}

// noLink refuses a name that is a link's, wherever it leads: what the writer touches lies below its root.
func (r *activeRun) noLink(path string) error {
	if _, err := r.w.cfg.FS.Stat(path); vfs.IsNotExist(err) {
		return nil
	}
	entries, err := r.w.cfg.FS.ReadDir(r.w.cfg.Root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == r.spec.Store && e.Type()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: %s is a link", ErrName, path)
		}
	}
	return nil
}

// create makes the store, if the disk has the room that the run asks for.
func (r *activeRun) create(ctx context.Context, path string, need uint64) (*store.Store, bool, error) {
	if need > 0 {
		free, err := r.w.cfg.FS.Free(r.w.cfg.Root)
		if err != nil {
			return nil, true, err
		}
		if free < need {
			return nil, true, fmt.Errorf("%w: %s has %s free, the run needs %s (--force starts all the same)",
				ErrSpace, r.w.cfg.Root, humanize.IBytes(free), humanize.IBytes(need))
		}
	}
	s, err := store.Create(ctx, r.w.cfg.FS, path, r.spec, r.options())
	if errors.Is(err, store.ErrExists) {
		// It may be this run's: made by a primary that died before it could say so.
		if own, openErr := store.Open(ctx, r.w.cfg.FS, path, r.spec.Run, r.options()); openErr == nil {
			return own, false, nil
		}
		return nil, true, err
	}
	r.mu.Lock()
	r.made = err == nil
	r.mu.Unlock()
	return s, errors.Is(err, store.ErrSpec), err
}

func (r *activeRun) options() store.Options {
	return store.Options{
		Writer: r.w.cfg.Name, Encoders: r.w.cfg.Encoders,
		Hooks: store.Hooks{Synced: r.w.meter.synced, Working: r.w.meter.working},
	}
}

// ready says that the run's frames may come.
func (r *activeRun) ready(s *store.Store) {
	r.mu.Lock()
	free := r.free
	r.mu.Unlock()
	r.rx.Report(frames.KindReady, link.Ready{Run: r.spec.Run, Path: s.Path(), FreeBytes: free, BufferBytes: s.BufferBytes()})
}

// refuse says that they may not.
func (r *activeRun) refuse(err error, usage bool) {
	if errors.Is(err, ErrName) { // the asker's fault, however often
		r.w.cfg.Refusals.Note(refusal.Message, err)
	} else {
		r.w.cfg.Logger.Error("the run is refused", "run", r.spec.Run, "error", err)
	}
	// A folder that may not be written to is the user's to mend, as is one that is not there.
	usage = usage || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
	r.rx.Report(frames.KindReady, link.Ready{Run: r.spec.Run, Error: oneLine(err), Usage: usage, DiskFull: vfs.IsFull(err)})
}

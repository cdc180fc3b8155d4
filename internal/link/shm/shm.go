// Package shm is the carrier for members on acquire's own host: pixels stay in the slab, and a process's death
// is a lock that the kernel releases.
package shm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Carrier maps slabs below Dir.
type Carrier struct {
	// Dir is the memory file system, /dev/shm.
	Dir string
}

var _ link.Carrier = Carrier{}

// Name implements link.Carrier.
func (Carrier) Name() string { return "shm" }

// Open implements link.Carrier.
func (c Carrier) Open(_ context.Context, a link.Armed) (link.Mapping, error) {
	v, err := slab.Open(c.Dir, a.Slab, a.Spec.Run)
	if err != nil {
		return nil, err
	}
	if got, want := v.Spec().Geometry, a.Spec.Geometry; got != want {
		return nil, fmt.Errorf("%w: the slab holds frames of %s, the run has %s", link.ErrProtocol, got, want)
	}
	return mapping{v}, nil
}

type mapping struct{ *slab.View }

var _ link.Mapping = mapping{}

// Frame implements link.Mapping.
func (m mapping) Frame(o frames.Offer) (*frames.Frame, error) { return m.View.Frame(o) }

// Presence is a member's sign of life: a lock that is held until Close, or until the process ends.
type Presence struct{ file *os.File }

func presencePath(dir, camera, name string) string {
	return filepath.Join(slab.UserDir(dir), camera+"."+name+".member")
}

// Announce takes the lock of a member's name. A name that another process holds is refused: while a process
// of that name has just been killed, the kernel may need a moment, so it tries until ctx ends.
func Announce(ctx context.Context, dir, camera, name string) (*Presence, error) {
	if _, err := slab.EnsureDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(presencePath(dir, camera, name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("announce member %s: %w", name, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &Presence{f}, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("announce member %s of camera %s: the name is taken by a living process: %w", name, camera, err)
		case <-tick.C:
		}
	}
}

// Close gives the lock up. The file stays: removing it would race with the next holder.
func (p *Presence) Close() error { return p.file.Close() }

// Alive reports whether the member's process lives: whether its lock is held. It is what a listener's
// configuration asks for.
func Alive(dir, camera string) func(link.Join) bool {
	return func(j link.Join) bool {
		f, err := os.OpenFile(presencePath(dir, camera, j.Name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return false
		}
		defer f.Close()
		return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
	}
}

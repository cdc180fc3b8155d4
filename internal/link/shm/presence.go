package shm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Presence is a member's sign of life: a lock that is held until Close, or until the process ends, on a file that
// says which process has it.
type Presence struct{ file *os.File }

func presencePath(dir, camera, name string) string {
	return filepath.Join(slab.UserDir(dir), camera+"."+name+".member")
}

// Announce takes the lock of a member's name, before it joins. A name that another process holds is refused: while
// a process of that name has just been killed, the kernel may need a moment, so it tries until ctx ends. The error
// wraps slab.ErrInUse then.
func Announce(ctx context.Context, dir, camera, name string) (*Presence, error) {
	if err := errors.Join(frames.ValidCamera(camera), frames.ValidCamera(name)); err != nil {
		return nil, fmt.Errorf("announce member %s: %w", name, err)
	}
	p, err := announce(ctx, dir, presencePath(dir, camera, name))
	if err != nil {
		return nil, fmt.Errorf("announce member %s of camera %s: %w", name, camera, err)
	}
	return p, nil
}

func announce(ctx context.Context, dir, path string) (*Presence, error) {
	if _, err := slab.EnsureDir(dir); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := take(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		// Its holder may have removed it while we waited for the lock: that one is nobody's any more.
		if linked(f) {
			return &Presence{f}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// linked reports whether an open file is the one of its name.
func linked(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(mine, named)
}

func take(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := slab.TryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, slab.ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-tick.C:
		}
	}
	// Fixed width: a reader finds the old number or the new one, never a part.
	_, err := f.WriteAt(pidText(os.Getpid()), 0)
	return err
}

func pidText(pid int) []byte { return fmt.Appendf(nil, "%-*d\n", pidWidth-1, pid) }

const pidWidth = 12

// Close gives the name up and removes its file, before the lock goes: who waits for the lock of a file that is not
// there any more makes a new one.
func (p *Presence) Close() error {
	var err error
	if linked(p.file) {
		err = os.Remove(p.file.Name())
	}
	return errors.Join(err, p.file.Close())
}

// Alive reports whether the process that joined still lives: whether the lock of its name is held, and by that
// process, not by one that was started in its place. It is what a listener's configuration asks for.
func Alive(dir, camera string) func(link.Join) bool {
	return func(j link.Join) bool {
		f, err := os.OpenFile(presencePath(dir, camera, j.Name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return !errors.Is(err, fs.ErrNotExist) // who can't be asked about is not dead
		}
		defer f.Close()
		if held, err := slab.Locked(f); err != nil || !held {
			return err != nil
		}
		var b [pidWidth]byte
		if _, err := f.ReadAt(b[:], 0); err != nil {
			return true // its holder has not written its number yet
		}
		return bytes.Equal(b[:], pidText(j.PID))
	}
}

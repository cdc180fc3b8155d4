package shm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// acquirePath is not the path of any member's presence: those have a name between two dots.
func acquirePath(dir, camera string) string {
	return filepath.Join(slab.UserDir(dir), camera+".member")
}

// AnnounceAcquire takes the lock that one acquire per camera and host holds. It tries until ctx ends, like Announce;
// the error wraps slab.ErrInUse then and says which process has it.
func AnnounceAcquire(ctx context.Context, dir, camera string) (*Presence, error) {
	if err := frames.ValidCamera(camera); err != nil {
		return nil, fmt.Errorf("announce acquire: %w", err)
	}
	path := acquirePath(dir, camera)
	p, err := announce(ctx, dir, path)
	if errors.Is(err, slab.ErrInUse) {
		return nil, fmt.Errorf("camera %s already has an acquire on this host, process %s: %w", camera, holder(path), slab.ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("announce acquire of camera %s: %w", camera, err)
	}
	return p, nil
}

// holder is the number of the process that has a lock, as its file says it.
func holder(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	var b [pidWidth]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return "unknown" // it has not written it yet
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b[:])))
	if err != nil {
		return "unknown"
	}
	return strconv.Itoa(pid)
}

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	restEvery = 100 * time.Millisecond // the disk rests when nothing has happened for so long
	restTime  = 3 * time.Second        // no longer is waited for that: others may use it too
)

// clearAway removes a folder below dir and waits until its disk rests: the freeing of a run's blocks, which goes on after
// the files are gone, is not to fall into the next one.
func clearAway(ctx context.Context, dir, out string) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncing the disk of %s: %w", dir, err)
	}
	path, err := counters(dir)
	if err != nil {
		return err
	}
	awaitRest(ctx, path)
	return nil
}

// awaitRest waits until the counters of a disk stand still. A file system without one has none.
func awaitRest(ctx context.Context, counters string) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	limit := time.After(restTime)
	last, err := os.ReadFile(counters)
	for err == nil {
		select {
		case <-tick.C:
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
		var now []byte
		if now, err = os.ReadFile(counters); bytes.Equal(now, last) {
			return
		}
		last = now
	}
}

package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/sluicedaq/sluice/internal/slab"
)

// TestAnnounceAcquire: a camera has one acquire, which is in no member's way, whatever the member's name.
func TestAnnounceAcquire(t *testing.T) {
	dir := t.TempDir()
	once, cancel := context.WithCancel(t.Context())
	cancel() // one try only
	p, err := AnnounceAcquire(once, dir, "cam0")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("camera cam0 already has an acquire on this host, process %d: %v", os.Getpid(), slab.ErrInUse)
	if _, err := AnnounceAcquire(once, dir, "cam0"); !errors.Is(err, slab.ErrInUse) || err.Error() != want {
		t.Errorf("a second one: %v, want %s", err, want)
	}
	if other, err := AnnounceAcquire(once, dir, "cam1"); err != nil {
		t.Errorf("another camera's: %v", err)
	} else {
		defer other.Close()
	}
	for _, name := range []string{"acquire", "member"} {
		m, err := Announce(once, dir, "cam0", name)
		if err != nil {
			t.Errorf("a member %s: %v", name, err)
			continue
		}
		t.Cleanup(func() { m.Close() })
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := AnnounceAcquire(once, dir, "cam0")
	if err != nil {
		t.Fatalf("after it ended: %v", err)
	}
	defer again.Close()
	if _, err := AnnounceAcquire(once, dir, "../cam0"); err == nil {
		t.Error("a camera with a path for a name was taken")
	}
}

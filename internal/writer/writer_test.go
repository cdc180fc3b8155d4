package writer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/internal/writer"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestRun writes whole runs through the real link, with losses and a partial last shard.
func TestRun(t *testing.T) {
	for _, writers := range []int{1, 2, 3} {
		for _, codec := range []string{"none", "zstd", "blosc-zstd"} {
			t.Run(fmt.Sprint(writers, " ", codec), func(t *testing.T) {
				spec := testSpec()
				if spec.Codec = codec; codec != "none" {
					spec.Level = 1
				}
				h := newHost(t, spec, writers)
				var ps []*process
				for i := range writers {
					ps = append(ps, h.start(fmt.Sprint("writer-", i)))
				}
				h.must(h.arm(6))
				h.disp.Event([]byte(`{"kind":"test"}`))
				h.capture(10)
				h.lose(17) // over two shards, one of them lost as a whole
				h.capture(30)
				sum := h.finish()
				if sum.Captured != 57 || sum.Written != 40 || sum.Lost != 17 || sum.LostByReason["dropped"] != 17 {
					t.Errorf("summary %+v", sum)
				}
				lost := map[uint64]bool{}
				for seq := uint64(10); seq < 27; seq++ {
					lost[seq] = true
				}
				h.check(57, lost)
				events, err := os.ReadFile(filepath.Join(h.root, spec.Store, "events.jsonl"))
				if err != nil || !bytes.Equal(events, []byte("{\"kind\":\"test\"}\n")) {
					t.Errorf("events.jsonl has %q, %v", events, err)
				}
				var done uint64
				for _, p := range ps {
					done += p.Health().Frames
				}
				if done != 40 {
					t.Errorf("the writers have counted %d frames, want 40", done)
				}
				for _, p := range ps {
					p.leave()
					p.wait()
				}
			})
		}
	}
}

// TestSecondRun keeps the processes over two runs.
func TestSecondRun(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	h.start("writer-0")
	h.start("writer-1")
	for i := range 2 {
		h.spec.Run, h.spec.Store = frames.NewRunID(), fmt.Sprintf("run-%d.ome.zarr", i)
		h.must(h.arm(5))
		h.capture(20)
		h.finish()
		h.check(20, nil)
	}
}

// TestKilledWriter loses a writer in the middle: another one takes its shards over.
func TestKilledWriter(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	first := h.start("writer-0")
	h.start("writer-1")
	h.must(h.arm(6))
	h.capture(21)
	first.kill()
	h.capture(30)
	h.finish()
	h.check(51, nil)
}

// TestRestartedWriter starts the only writer again under its name: it takes over what it had.
func TestRestartedWriter(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0")
	h.must(h.arm(30))
	for range 3 {
		h.capture(11)
		p.kill()
		h.capture(3)
		p = h.start("writer-0")
	}
	h.capture(2)
	h.finish()
	h.check(44, nil)
}

// TestBrokerRestart takes the broker away in the middle.
func TestBrokerRestart(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	h.start("writer-0")
	h.start("writer-1")
	h.must(h.arm(40))
	h.capture(13)
	h.nats.Down()
	h.capture(10)
	h.nats.Up()
	h.capture(10)
	h.finish()
	h.check(33, nil)
}

// TestArmedAnew has acquire die before the first frame, and another run, of the same name, take the place of the one that
// nobody can offer any more.
func TestArmedAnew(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	h.start("writer-0")
	h.start("writer-1")
	h.must(h.arm(20))
	h.crash()
	h.must(h.slab.Remove())
	h.must(h.slab.Close())
	h.spec.Run = frames.NewRunID()
	h.serve()
	h.must(h.arm(20))
	h.capture(12)
	h.finish()
	h.check(12, nil)
}

// TestAcquireComesBack has acquire die and take the run up again from its slab: what the writers hold they keep.
func TestAcquireComesBack(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	h.start("writer-0")
	h.start("writer-1")
	h.must(h.arm(20))
	h.capture(12)
	h.crash()
	h.newBudget()
	h.serve()
	h.must(h.armWith(dispatch.RunConfig{Resumed: true, Grace: 200 * time.Millisecond}))
	h.capture(12)
	h.finish()
	h.check(24, nil)
}

// TestLeave asks a writer to go in the middle of a run: it stays until the run is over.
func TestLeave(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0")
	h.must(h.arm(5))
	h.capture(9)
	p.leave()
	h.capture(9)
	h.finish()
	h.check(18, nil)
	p.wait()
}

func TestLeaveWithoutARun(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0")
	p.leave()
	p.wait()
}

// TestLeaveOfADeadRun is a writer whose acquire has gone for good.
func TestLeaveOfADeadRun(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0", func(c *writer.Config) { c.LeaveTimeout = 100 * time.Millisecond })
	h.must(h.arm(5))
	p.leave()
	p.wait()
}

// TestRefusals arms runs that a writer must refuse.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(h *host) dispatch.RunConfig
		want  string
	}{
		"the store exists": {func(h *host) dispatch.RunConfig {
			h.must(os.Mkdir(filepath.Join(h.root, h.spec.Store), 0o755))
			return dispatch.RunConfig{}
		}, "the store exists"},
		"too little room": {func(*host) dispatch.RunConfig {
			return dispatch.RunConfig{NeedBytes: 1 << 60}
		}, "the run needs 1.0 EiB"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, testSpec(), 2)
			h.start("writer-0")
			h.start("writer-1")
			h.await(dispatch.MemberJoined)
			h.await(dispatch.MemberJoined)
			rc := c.spoil(h)
			h.newSlab(4)
			err := h.armWith(rc)
			if !errors.Is(err, dispatch.ErrRefusedUsage) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("arming: %v, want a refusal with %q", err, c.want)
			}
			// The next run is not harmed.
			h.spec.Run, h.spec.Store = frames.NewRunID(), "other.ome.zarr"
			h.must(h.arm(4))
			h.capture(9)
			h.finish()
			h.check(9, nil)
		})
	}
}

// TestOtherFolder has a writer that sees another folder than the primary.
func TestOtherFolder(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	h.start("writer-0")
	h.await(dispatch.MemberJoined)
	h.start("writer-1", func(c *writer.Config) { c.Root, c.OpenTimeout = t.TempDir(), 200*time.Millisecond })
	h.await(dispatch.MemberJoined)
	if err := h.arm(4); !errors.Is(err, dispatch.ErrRefusedUsage) || !strings.Contains(err.Error(), "do all writers see the same folder?") {
		t.Fatalf("arming: %v", err)
	}
}

// TestRefusedRunLeavesNothing arms a run that another member refuses: the primary takes its empty store away.
func TestRefusedRunLeavesNothing(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	h.start("writer-0")
	h.must(h.arm(4))
	h.disp.CloseRun()
	h.spec.Run = frames.NewRunID()
	h.must(h.arm(4)) // under the same name
	h.capture(3)
	h.finish()
	h.check(3, nil)
}

func TestStoreNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a.zarr": true, "cam0_2025.ome.zarr": true, "": false, ".": false, "..": false, "../a.zarr": false, "/a.zarr": false,
		"a/b.zarr": false, ".sluice-x": false, "a\x00b": false, "a\nb.zarr": false, "a/": false,
	} {
		if err := writer.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]writer.Config{
		"no name":      {Root: t.TempDir()},
		"no root":      {Name: "w"},
		"a file":       {Name: "w", Root: file},
		"far too deep": {Name: "w", Root: filepath.Join(t.TempDir(), "a", "b")},
	} {
		if _, err := writer.New(cfg); !errors.Is(err, writer.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
	root := filepath.Join(t.TempDir(), "new")
	if _, err := writer.New(writer.Config{Name: "w", Root: root}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Error(err)
	}
}

// fullDisk has no room for more than a few allocations.
type fullDisk struct {
	vfs.OS
	left chan struct{}
}

type fullFile struct {
	vfs.File
	left chan struct{}
}

func (d fullDisk) OpenFile(path string, flag vfs.Flag) (vfs.File, error) {
	f, err := d.OS.OpenFile(path, flag)
	if err != nil || flag&vfs.Direct == 0 {
		return f, err
	}
	return fullFile{f, d.left}, nil
}

func (f fullFile) Allocate(off, n int64) error {
	select {
	case <-f.left:
		return f.File.Allocate(off, n)
	default:
		return fmt.Errorf("fallocate: %w", syscall.ENOSPC)
	}
}

// TestDiskFull fills the disk: the writer says so and releases nothing that is not durable.
func TestDiskFull(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	disk := fullDisk{left: make(chan struct{}, 2)}
	disk.left <- struct{}{}
	disk.left <- struct{}{}
	h.start("writer-0", func(c *writer.Config) { c.FS = disk })
	h.must(h.arm(20))
	h.capture(18) // the third shard has no room
	f := h.await(dispatch.MemberFailed)
	if !strings.Contains(f.Reason, "no space left on device") {
		t.Errorf("the reason is %q", f.Reason)
	}
	if reason, full := h.disp.Failure(); !full {
		t.Errorf("not taken for a full disk: %s", reason)
	}
	if a := h.disp.Account(); a.Durable > 16 {
		t.Errorf("%d frames count as durable", a.Durable)
	}
}

func TestHealth(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0")
	if hl := p.Health(); hl.Path != "" || hl.Frames != 0 {
		t.Errorf("without a run: %+v", hl)
	}
	h.must(h.arm(5))
	h.capture(20)
	h.await(dispatch.ShardSealed)
	h.await(dispatch.ShardSealed)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	h.must(h.budget.Acquire(ctx, int64(5*h.slab.Stride()))) // every frame is released
	h.must(h.budget.Release(int64(5 * h.slab.Stride())))
	hl := p.Health()
	want := uint64(20 * h.spec.Geometry.FrameBytes())
	if hl.Path != filepath.Join(h.root, h.spec.Store) || hl.Frames != 20 || hl.Bytes != want || hl.StoredBytes != want ||
		hl.ReadableUntil != 16 || hl.FreeBytes == 0 || !hl.Direct || hl.Fallback != "" {
		t.Errorf("health %+v", hl)
	}
	if run, claims := p.Claims(); run != h.spec.Run || len(claims) != 1 || claims[0].Shard != 2 {
		t.Errorf("claims %v %v", run, claims)
	}
	h.finish()
	h.check(20, nil)
}

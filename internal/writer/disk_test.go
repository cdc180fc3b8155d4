package writer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/internal/writer"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// failing has one operation of a kind, the n-th from 0 on files whose names end in suffix, fail with EIO.
func failing(op, suffix string, n int64) vfs.FS {
	var count atomic.Int64
	return vfs.NewFault(vfs.OS{}, 0, func(o vfs.Op) vfs.Injection {
		if o.Name == op && strings.HasSuffix(o.Path, suffix) && count.Add(1)-1 == n {
			return vfs.IO
		}
		return vfs.Pass
	})
}

// died waits for the end of a writer whose disk has failed.
func (p *process) died(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		t.Fatal("the writer goes on")
	}
	if !errors.Is(p.err, writer.ErrDisk) || !errors.Is(p.err, syscall.EIO) || strings.Contains(p.err.Error(), "\n") {
		t.Errorf("the writer ends with %v, want ErrDisk in a line", p.err)
	}
	p.err = nil
	p.wait()
}

// TestFailedDisk has an operation fail: the writer ends, and started again it loses no frame.
func TestFailedDisk(t *testing.T) {
	for name, c := range map[string]struct {
		op, suffix string
		n          int64
	}{
		"a write of pixels":     {"write", ".data", 1},
		"a sync of pixels":      {"fdatasync", ".data", 0},
		"a later sync":          {"fdatasync", ".data", 3},
		"a write of a journal":  {"write", ".journal", 2},
		"a sync of a journal":   {"fdatasync", ".journal", 0},
		"a sync of an index":    {"fsync", ".data", 0},
		"a shard's new name":    {"rename new", "/0", 0},
		"a sync of a ledger":    {"fdatasync", ".jsonl", 0},
		"a write of a column":   {"write", "crc32c", 0},
		"a sync of metadata":    {"fsync", "zarr.json", 8},
		"a removal of journals": {"remove", ".journal", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, testSpec(), 1)
			p := h.start("writer-0", func(cfg *writer.Config) { cfg.FS = failing(c.op, c.suffix, c.n) })
			h.must(h.arm(50))
			h.capture(10)
			h.lose(1)
			h.capture(20)
			p.died(t)
			h.start("writer-0")
			h.capture(2)
			h.finish()
			h.check(33, map[uint64]bool{10: true})
		})
	}
}

// TestFailedDiskOfTwo leaves the shards of a writer whose disk has failed to the other one.
func TestFailedDiskOfTwo(t *testing.T) {
	h := newHost(t, testSpec(), 2)
	p := h.start("writer-0", func(c *writer.Config) { c.FS = failing("fdatasync", ".data", 1) })
	h.start("writer-1")
	h.must(h.arm(20))
	h.capture(40)
	p.died(t)
	h.capture(10)
	h.finish()
	h.check(50, nil)
}

// TestSilentDisk: a disk that does not answer must not keep the writer from saying how it is.
func TestSilentDisk(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	answer := make(chan struct{})
	var silent atomic.Bool
	p := h.start("writer-0", func(c *writer.Config) {
		c.FS = vfs.NewFault(vfs.OS{}, 0, func(vfs.Op) vfs.Injection {
			if silent.Load() {
				<-answer
			}
			return vfs.Pass
		})
	})
	h.must(h.arm(20))
	h.capture(4)
	if h := p.Health(); h.Path == "" || h.FreeBytes == 0 {
		t.Errorf("health %+v", h)
	}
	silent.Store(true)
	h.capture(4)
	told := make(chan uint64, 1)
	go func() { told <- p.Health().FreeBytes }()
	select {
	case free := <-told:
		if free == 0 {
			t.Error("the disk's room is forgotten")
		}
	case <-time.After(limit):
		t.Error("the writer waits for the disk")
	}
	close(answer)
	h.finish()
	h.check(8, nil)
}

// TestDamagedAtTakeover damages a frame that was released: the new owner names it and seals all the same.
func TestDamagedAtTakeover(t *testing.T) {
	h := newHost(t, testSpec(), 1)
	p := h.start("writer-0")
	h.must(h.arm(4))
	h.capture(4)
	for h.disp.Account().Durable < 4 { // each frame is released
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the frames do not become durable")
		}
	}
	p.kill()
	files, err := filepath.Glob(filepath.Join(h.root, h.spec.Store, ".sluice", "0.*.data"))
	if err != nil || len(files) != 1 {
		t.Fatalf("data files %v, %v", files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	h.must(err)
	_, err = f.WriteAt([]byte("damage"), 1000)
	h.must(errors.Join(err, f.Close()))
	h.start("writer-0")
	h.capture(4)
	h.await(dispatch.ShardSealed)
	sum := h.finish()
	if sum.Written != 7 || sum.LostByReason["unwritten"] != 1 {
		t.Errorf("summary %+v", sum)
	}
	lost := map[uint64]bool{}
	r, err := store.OpenReader(vfs.OS{}, filepath.Join(h.root, h.spec.Store))
	h.must(err)
	defer r.Close()
	for seq := range uint64(8) {
		row, err := r.Row(seq)
		h.must(err)
		if row.State == frames.Unwritten { // whichever chunk lies first
			lost[seq] = true
		}
	}
	h.check(8, lost)
}

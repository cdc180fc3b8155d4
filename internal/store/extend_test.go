package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// keeping is a disk that keeps what it got of an allocation before it was full, as ext4 does. allocated, if not nil, is
// called behind each allocation of a shard's file.
type keeping struct {
	vfs.FS
	allocated func()
}

func (k keeping) OpenFile(path string, flag vfs.Flag) (vfs.File, error) {
	f, err := k.FS.OpenFile(path, flag)
	if err != nil || !strings.HasSuffix(path, ".data") {
		return f, err
	}
	return keepingFile{f, k.allocated}, nil
}

type keepingFile struct {
	vfs.File
	allocated func()
}

func (f keepingFile) Allocate(off, n int64) error {
	err := f.File.Allocate(off, n)
	for at := off; vfs.IsFull(err) && at < off+n; at += vfs.Block {
		if f.File.Allocate(at, vfs.Block) != nil {
			break
		}
	}
	if f.allocated != nil {
		f.allocated()
	}
	return err
}

// roomSpec is of a run whose shards are larger than what the disk of its test has left beside the space that is set aside.
func roomSpec() run.Spec {
	spec := testSpec()
	codecs()["direct"](&spec)
	spec.ShardFrames = 64
	return spec
}

// TestFullDiskOfTwo: a writer whose shard has no room as a whole gives back what the disk gave it of that, so that another
// one's files have room and the space that was set aside is untouched.
func TestFullDiskOfTwo(t *testing.T) {
	spec := roomSpec()
	mem := newDisk(t)
	disk := keeping{FS: mem}
	s0, sh := shardOn(t, disk, spec)
	mem.SetLimit(mem.Used() + 128<<10) // a shard has 64 frames of 8 KiB
	if err := sh.Commit(t.Context(), []store.Frame{testFrame(spec, 0, true)}, nil); err != nil {
		t.Fatal(err)
	}
	s1, err := store.Open(t.Context(), disk, sweepPath, spec.Run, store.Options{Writer: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s1.TakeShard(t.Context(), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Commit(t.Context(), []store.Frame{testFrame(spec, spec.ShardFrames, true)}, nil); err != nil {
		t.Errorf("a frame of the other writer: %v", err)
	}
	if _, err := mem.Stat(filepath.Join(sweepPath, ".sluice", "spare")); err != nil {
		t.Errorf("what was set aside: %v", err)
	}
	if err := errors.Join(sh.Close(), other.Close(), s0.Close(), s1.Close()); err != nil {
		t.Error(err)
	}
}

// TestSpareTakenMeanwhile: another writer begins to use what was set aside while this one has its file allocated: this one
// gives back what it got, and its frame has no room.
func TestSpareTakenMeanwhile(t *testing.T) {
	spec := roomSpec()
	mem := newDisk(t)
	spare := filepath.Join(sweepPath, ".sluice", "spare")
	s, sh := shardOn(t, keeping{FS: mem, allocated: func() {
		if err := mem.Remove(spare); err != nil && !vfs.IsNotExist(err) {
			t.Error(err)
		}
	}}, spec)
	err := sh.Commit(t.Context(), []store.Frame{testFrame(spec, 0, true)}, nil)
	if !vfs.IsFull(err) || errors.Is(err, store.ErrBroken) {
		t.Errorf("committing a frame: %v", err)
	}
	f, err := mem.OpenFile(filepath.Join(sweepPath, ".sluice", "0.1.data"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 0 || err != nil {
		t.Errorf("the shard's file keeps %d bytes, %v", size, err)
	}
	if err := sh.Commit(t.Context(), nil, []frames.Loss{loss(frames.Unwritten, 0, 1)}); err != nil {
		t.Errorf("its ledger line: %v", err)
	}
	if err := errors.Join(f.Close(), sh.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

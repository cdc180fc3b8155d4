package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// dataWrites is a plan that has each write of frames do what is given.
func dataWrites(do func()) func(vfs.Op) vfs.Injection {
	return func(op vfs.Op) vfs.Injection {
		if op.Name == "write" && strings.HasSuffix(op.Path, ".data") {
			do()
		}
		return vfs.Pass
	}
}

// TestCommitIsOneWrite: frames that can be written from where they lie go out in one write, and their checksums are not
// waited for: here they wait for the write.
func TestCommitIsOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int64
		began := make(chan struct{})
		disk := vfs.NewFault(newDisk(t), 0, dataWrites(func() {
			if writes.Add(1) == 1 {
				close(began)
			}
		}))
		spec := testSpec()
		spec.Geometry = frames.Geometry{Height: 64, Width: 128, Channels: 1, Dtype: frames.Uint8}
		s, sh := shardAt(t, disk, sweepPath, spec, store.Hooks{Working: func(delta int) {
			if delta > 0 {
				<-began
			}
		}})
		var fs []store.Frame
		for seq := range spec.ShardFrames {
			fs = append(fs, testFrame(spec, seq, true))
		}
		if err := sh.Commit(t.Context(), fs, nil); err != nil {
			t.Fatal(err)
		}
		if n := writes.Load(); n != 1 {
			t.Errorf("%d frames were %d writes", len(fs), n)
		}
		if err := errors.Join(sh.Seal(t.Context(), spec.ShardFrames), sh.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestPixelsAreGoneInTheWrite: the file under the pixels is cut short when their checksum is computed, and before they are
// written. That is no error of the disk.
func TestPixelsAreGoneInTheWrite(t *testing.T) {
	summed := make(chan struct{})
	var once sync.Once
	spec := testSpec()
	spec.Geometry = frames.Geometry{Height: 64, Width: 128, Channels: 1, Dtype: frames.Uint8}
	mem, file := mapped(t, spec.Geometry.FrameBytes())
	disk := vfs.NewFault(vfs.OS{}, 0, dataWrites(func() {
		<-summed
		if err := file.Truncate(vfs.Block); err != nil {
			t.Error(err)
		}
	}))
	s, sh := shardAt(t, disk, filepath.Join(t.TempDir(), "a.ome.zarr"), spec, store.Hooks{Working: func(delta int) {
		if delta < 0 {
			once.Do(func() { close(summed) })
		}
	}})
	defer s.Close()
	defer sh.Close()
	err := sh.Commit(t.Context(), []store.Frame{{Seq: 1, Pixels: mem}}, nil)
	if !errors.Is(err, frames.ErrFault) || !errors.Is(err, syscall.EFAULT) || !errors.Is(err, store.ErrBroken) {
		t.Errorf("committing what goes meanwhile: %v", err)
	}
	if st := sh.State(1); st != frames.Absent {
		t.Errorf("the frame is %s", st)
	}
}

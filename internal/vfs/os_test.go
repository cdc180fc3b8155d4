package vfs_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/internal/vfs/vfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOS(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, t.TempDir() })
}

// TestOSInMemory uses a tmpfs: some kernels refuse direct access there.
func TestOSInMemory(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) {
		dir, err := os.MkdirTemp("/dev/shm", "vfs")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return vfs.OS{}, dir
	})
}

func TestMem(t *testing.T) {
	vfstest.Run(t, func(*testing.T) (vfs.FS, string) { return vfs.NewMem(1 << 20), "/" })
}

func TestFaultWithoutFaults(t *testing.T) {
	vfstest.Run(t, func(*testing.T) (vfs.FS, string) { return vfs.NewFault(vfs.NewMem(0), 0, nil), "/" })
	vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.NewFault(vfs.OS{}, 0, nil), t.TempDir() })
}

func TestAlloc(t *testing.T) {
	for _, n := range []int{0, 1, vfs.Block, 3*vfs.Block + 5} {
		b := vfs.Alloc(n)
		if len(b) != n || cap(b) != n || !vfs.Aligned(b) {
			t.Errorf("Alloc(%d): len %d, cap %d, aligned %t", n, len(b), cap(b), vfs.Aligned(b))
		}
	}
	for n, want := range map[int64]int64{0: 0, 1: 4096, 4096: 4096, 4097: 8192} {
		if got := vfs.Pad(n); got != want {
			t.Errorf("Pad(%d) = %d, want %d", n, got, want)
		}
	}
}

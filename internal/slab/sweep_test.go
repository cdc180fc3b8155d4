package slab

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSweep: a slab without a header goes, unless somebody is making it; one with a header and other cameras' stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	folder, err := EnsureDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte) string {
		path := filepath.Join(folder, name+suffix)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, zeros := file("cam.1.1", nil), file("cam.1.2", make([]byte, 3*PageSize))
	other, headed := file("cam2.1.1", nil), file("cam.1.3", append([]byte(magic), make([]byte, PageSize)...))
	making := file("cam.1.4", nil)
	f, err := os.OpenFile(making, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := TryLock(f); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir, "cam"); err != nil {
		t.Fatal(err)
	}
	for path, stays := range map[string]bool{empty: false, zeros: false, other: true, headed: true, making: true} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s stays: %v, want %v", filepath.Base(path), err == nil, stays)
		}
	}
}

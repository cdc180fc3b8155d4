package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]struct {
		n     ByteSize
		canon string
	}{
		"256MiB": {256 << 20, "256MiB"}, "1GB": {1e9, "1GB"}, "4096": {4096, "4KiB"}, "4097": {4097, "4097"},
		"1.5 GiB": {3 << 29, "1536MiB"}, "10kB": {10000, "10kB"}, "7EiB": {7 << 60, "7EiB"}, "1B": {1, "1"},
	} {
		got, err := ParseByteSize(text)
		if err != nil || got != want.n || got.String() != want.canon {
			t.Errorf("%q: %d %s, %v; want %d %s", text, got, got, err, want.n, want.canon)
		}
		if again, err := ParseByteSize(got.String()); again != got {
			t.Errorf("%s again: %d, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "MiB", "1XB", "16EiB", "8EiB", "0.1B", "1e3"} {
		if got, err := ParseByteSize(text); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzByteSize(f *testing.F) {
	for _, s := range []string{"256MiB", "1GB", "4096", "-1", "1.5TiB", "9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseByteSize(s)
		if err != nil {
			return
		}
		if again, err := ParseByteSize(n.String()); n <= 0 || again != n {
			t.Errorf("%q: %d, as %s %d, %v", s, n, n, again, err)
		}
	})
}

func TestLength(t *testing.T) {
	for text, want := range map[string]float64{"0.65um": 0.65, "650nm": 0.65, "1mm": 1000, "2 µm": 2, "3μm": 3, "1m": 1e6, "1e2nm": 0.1} {
		if got, err := ParseLength(text); err != nil || got.Micrometres()-want > 1e-12 || want-got.Micrometres() > 1e-12 {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "um", "1", "0um", "-1um", "1inch", "NaNum", "Infm", "1e308m", "1mum"} {
		if got, err := ParseLength(text); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestDefaultBudget(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		slot int64
		fps  float64
		free int64
		want ByteSize
	}{
		{8 * mib, 100, 64 * gib, 1600 * mib}, // two seconds
		{mib, 10, 64 * gib, 256 * mib},       // not less than 256 MiB
		{8 * mib, 1000, 16 * gib, 4 * gib},   // not more than a quarter
		{8 * mib, 0, 64 * gib, 512 * mib},    // rate unknown
		{8 * mib, 0, gib, 256 * mib},         // rate unknown, little memory
		{512 * mib, 1, 64 * gib, 4 * gib},    // eight slots
		{512 * mib, 1, gib, 0},               // not even one
		{3 * mib, 10, 64 * gib, 255 * mib},   // whole slots
	} {
		if got := DefaultBudget(c.slot, c.fps, c.free); got != c.want {
			t.Errorf("DefaultBudget(%d, %g, %d) = %s, want %s", c.slot, c.fps, c.free, got, c.want)
		}
	}
}

func TestFreeMemory(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want int64) {
		t.Helper()
		if got, err := freeMemory(root); err != nil || got != want {
			t.Errorf("%d, %v; want %d", got, err, want)
		}
	}
	if _, err := freeMemory(root); err == nil {
		t.Error("no meminfo, no error")
	}
	write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable:   80 kB\n")
	expect(80 << 10)
	write("proc/self/cgroup", "0::/a/b\n")
	write("sys/fs/cgroup/a/b/memory.max", "max\n")
	write("sys/fs/cgroup/a/b/memory.current", "5\n")
	expect(80 << 10)
	write("sys/fs/cgroup/a/memory.max", "40960\n")
	write("sys/fs/cgroup/a/memory.current", "10240\n")
	expect(30 << 10)
	if n, err := FreeMemory(); err != nil || n < 1<<20 {
		t.Errorf("this machine: %d, %v", n, err)
	}
}

func TestSplitOut(t *testing.T) {
	for in, want := range map[string][2]string{
		"/data": {"/data", ""}, "/data/": {"/data", ""}, "/data/x.zarr": {"/data", "x.zarr"},
		"x.ome.zarr/": {".", "x.ome.zarr"}, "a/../b": {"b", ""},
	} {
		if root, store := SplitOut(in); root != want[0] || store != want[1] {
			t.Errorf("%q: %q, %q; want %q", in, root, store, want)
		}
	}
}

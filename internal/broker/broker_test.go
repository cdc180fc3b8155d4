package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
)

func env(values map[string]string) func(string) string {
	return func(k string) string { return values[k] }
}

func TestDir(t *testing.T) {
	xdg, tmp := t.TempDir(), t.TempDir()
	fallback := filepath.Join(tmp, "sluice-"+strconv.Itoa(os.Getuid()))
	for value, want := range map[string]string{
		xdg: filepath.Join(xdg, "sluice"), "": fallback, "relative": fallback, filepath.Join(xdg, "none"): fallback,
	} {
		for range 2 { // made, and found again
			got, err := dir(env(map[string]string{"XDG_RUNTIME_DIR": value}), tmp)
			if err != nil || got != want {
				t.Fatalf("%q: %q, %v; want %q", value, got, err, want)
			}
		}
		if info, err := os.Stat(want); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", want, info, err)
		}
	}
}

func TestDirRefusesWhatOthersCanReach(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"open": func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o755)) },
		"link": func(p string) error { return os.Symlink(t.TempDir(), p) },
		"file": func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			if err := spoil(filepath.Join(tmp, "sluice-"+strconv.Itoa(os.Getuid()))); err != nil {
				t.Fatal(err)
			}
			if _, err := dir(env(nil), tmp); !errors.Is(err, ErrRuntimeDir) {
				t.Errorf("%v", err)
			}
		})
	}
}

func claim(t *testing.T, p Place) *os.File {
	t.Helper()
	f, err := p.Claim()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(dir, ""); !errors.Is(err, ErrNone) {
		t.Errorf("empty: %v", err)
	}
	for _, camera := range []string{"a", "b", "dead"} {
		p := At(dir, camera)
		f := claim(t, p)
		if err := p.Write(bus.Endpoint{V: 1, URL: "nats://127.0.0.1:1", Camera: camera, PID: 42}); err != nil {
			t.Fatal(err)
		}
		if camera == "dead" {
			f.Close()
		}
	}
	if _, err := Find(dir, ""); !errors.Is(err, ErrSeveral) || !strings.HasSuffix(err.Error(), "of the cameras a, b: name one") {
		t.Errorf("two: %v", err)
	}
	if path, err := Find(dir, "b"); err != nil || path != filepath.Join(dir, "b.json") {
		t.Errorf("b: %q, %v", path, err)
	}
	for _, camera := range []string{"dead", "c"} {
		if _, err := Find(dir, camera); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", camera, err)
		}
	}
	if e, err := bus.ReadEndpoint(At(dir, "b").File()); err != nil || e.PID != 42 {
		t.Errorf("%+v, %v", e, err)
	}
	if err := At(dir, "b").Remove(); err != nil {
		t.Error(err)
	}
	if path, err := Find(dir, ""); err != nil || path != filepath.Join(dir, "a.json") {
		t.Errorf("one: %q, %v", path, err)
	}
}

func TestClaimIsExclusive(t *testing.T) {
	p := At(t.TempDir(), "cam0")
	first := claim(t, p)
	if err := p.Write(bus.Endpoint{V: 1, URL: "nats://127.0.0.1:1", PID: 42}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Claim(); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "process 42") {
		t.Errorf("second: %v", err)
	}
	if live, err := p.Live(); !live || err != nil {
		t.Errorf("%v, %v", live, err)
	}
	first.Close()
	if live, err := p.Live(); live || err != nil {
		t.Errorf("%v, %v", live, err)
	}
	claim(t, p)
}

func TestWriteReplacesWhatACrashLeft(t *testing.T) {
	p := At(t.TempDir(), "cam0")
	if err := os.WriteFile(p.File()+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for pid := range 2 {
		if err := p.Write(bus.Endpoint{V: 1, URL: "nats://127.0.0.1:1", PID: pid}); err != nil {
			t.Fatal(err)
		}
		if e, err := bus.ReadEndpoint(p.File()); err != nil || e.PID != pid {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(p.File())); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

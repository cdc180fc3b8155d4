package e2e_test

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// small is a source that is right, for options that are not.
const small = "sim:?width=64&height=64&dtype=uint8&fps=100"

// TestBadInput gives every command what it must refuse: exit code 2, one line on stderr that names what is wrong and
// what would be right, nothing on stdout, and nothing left behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	files := badFiles(t)
	for _, c := range []struct {
		name string
		args []string
		want []string // what the line must name
	}{
		{"unknown scheme", []string{"--source", "usb:3"}, []string{`"usb"`, "want sim:", "file:", "v4l2:", "video:"}},
		{"no scheme", []string{"--source", "camera"}, []string{"no scheme", "want sim:"}},
		{"unknown source key", []string{"--source", small + "&fsp=3"}, []string{`"fsp"`, "fps"}},
		{"unknown pattern", []string{"--source", small + "&pattern=stripes"}, []string{"pattern=stripes", "want counter or hash or wave or noise"}},
		{"unknown dtype", []string{"--source", small + "&dtype=float32"}, []string{"dtype"}},
		{"unit in a source key", []string{"--source", "sim:?width=64px&height=64"}, []string{"width=64px", "without a unit"}},
		{"width of zero", []string{"--source", "sim:?width=0&height=64"}, []string{"width=0", "from 1"}},
		{"negative height", []string{"--source", "sim:?width=64&height=-64"}, []string{"height=-64", "from 1"}},
		{"no source", nil, []string{"--source", "sim:?"}},
		{"unknown option", []string{"--source", small, "--framse", "3"}, []string{"--framse", "--frames"}},
		{"unknown unit", []string{"--source", small, "--budget", "64MB5"}, []string{"--budget", `"64MB5"`, "MiB"}},
		{"budget of zero", []string{"--source", small, "--budget", "0MiB"}, []string{"--budget", "0MiB", "it must be more"}},
		{"negative budget", []string{"--source", small, "--budget=-1MiB"}, []string{"--budget", "-1MiB"}},
		{"budget too small", []string{"--source", small, "--budget", "12KiB"}, []string{"budget", "12KiB", "3 frames", "at least 16KiB", "reserve"}},
		{"frames of zero", []string{"--source", small, "--frames", "0"}, []string{"--frames"}},
		{"negative frames", []string{"--source", small, "--frames=-5"}, []string{"--frames", "-5"}},
		{"time without a unit", []string{"--source", small, "--duration", "5"}, []string{"--duration", `"5"`, "2s"}},
		{"frames and duration", []string{"--source", small, "--frames", "5", "--duration", "5s"}, []string{"--frames", "--duration"}},
		{"no writers", []string{"--source", small, "--writers", "0"}, []string{"--writers", "1 to 64"}},
		{"unknown policy", []string{"--source", small, "--on-full", "wait"}, []string{"--on-full", "pause", "drop", "fail"}},
		{"unknown codec", []string{"--source", small, "--compress", "lz4"}, []string{"--compress", "zstd"}},
		{"length without a unit", []string{"--source", small, "--pixel-size", "0.65"}, []string{"--pixel-size", "um"}},
		{"camera name with a dot", []string{"--source", small, "--camera", "cam.0"}, []string{"--camera", "cam.0", "a-z"}},
		{"camera name with a wildcard", []string{"--source", small, "--camera", "cam*"}, []string{"--camera", "cam*", "a-z"}},
		{"camera name with the other wildcard", []string{"--source", small, "--camera", ">"}, []string{"--camera", ">", "a-z"}},
		{"no such file", []string{"--source", "file:" + files.at("none.y4m")}, []string{"none.y4m", "no such file"}},
		{"a text as a video", []string{"--source", "file:" + files.at("text.avi")}, []string{"text.avi", "make build-opencv"}},
		{"truncated video", []string{"--source", "file:" + files.at("short.y4m")}, []string{"short.y4m", "frame 1"}},
		{"header only", []string{"--source", "file:" + files.at("empty.y4m")}, []string{"empty.y4m"}},
		{"truncated image", []string{"--source", "file:" + files.at("torn")}, []string{"b.png"}},
		{"images of unequal size", []string{"--source", "file:" + files.at("unequal")}, []string{"c.png", "9x8", "8x8"}},
		{"folder without images", []string{"--source", "file:" + files.at("none")}, []string{"none"}},
		{"nobody at the URL", []string{"--source", small, "--nats", "nats://127.0.0.1:1", "--connect-timeout", "300ms"}, []string{"nats://127.0.0.1:1", "nobody answers", "attempts"}},
		{"no such folder", []string{"--source", small, "--out", files.at("no/such/folder")}, []string{"--out", "no/such"}},
		{"more shared memory than there is", []string{"--source", small, "--budget", "900TiB"}, []string{"900TiB", "free"}},
		{"more disk than there is", []string{"--source", small, "--frames", "900000000000000"}, []string{"free", "needs", "--force", "EiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := bareStation(t, "bad")
			r := s.Launch(c.args...).Wait(t)
			s.refused(r, c.want...)
		})
	}
}

// refused checks how a command ended that was given bad input.
func (s *station) refused(r programs.Result, want ...string) {
	s.t.Helper()
	if r.Code != 2 || !oneLine(r.Stderr) || r.Stdout != "" {
		s.t.Errorf("exit code %d\nstdout: %s\nstderr: %s", r.Code, r.Stdout, r.Stderr)
	}
	for _, w := range want {
		if !strings.Contains(r.Stderr, w) {
			s.t.Errorf("the line does not name %q: %s", w, r.Stderr)
		}
	}
	left, err := os.ReadDir(s.Out)
	if err != nil {
		s.t.Error(err)
	}
	for _, e := range left {
		s.t.Errorf("%s is left where the store would be", e.Name())
	}
	if e := s.Endpoint(); e.URL != "" {
		s.t.Error("the broker's file is left")
	}
	s.NothingLeft()
}

// TestStoreExists: a store is never overwritten.
func TestStoreExists(t *testing.T) {
	t.Parallel()
	s := newStation(t, "exists")
	path := filepath.Join(s.Out, "mine.ome.zarr")
	sum := s.end(s.start("--source", small, "--frames", "20", "--out", path), 0)
	if sum.Store != path {
		t.Errorf("the store is %s, want %s", sum.Store, path)
	}
	r := s.start("--source", small, "--frames", "20", "--out", path).Wait(t)
	if r.Code != 2 || !oneLine(r.Stderr) || !strings.Contains(r.Stderr, path) || !strings.Contains(r.Stderr, "exists") {
		t.Errorf("the second run: exit code %d: %s", r.Code, r.Stderr)
	}
	// The same where it is a writer that finds out.
	all := s.crew("--source", small)
	if r := s.ctl("arm", "--request", `{"store":"mine.ome.zarr"}`); r.Code != 2 || !oneLine(r.Stderr) || !strings.Contains(r.Stderr, "mine.ome.zarr") {
		t.Errorf("arm: exit code %d: %s", r.Code, r.Stderr)
	}
	if r := s.ctl("arm", "--request", `{"store":"../mine.ome.zarr"}`); r.Code != 2 || !oneLine(r.Stderr) {
		t.Errorf("arm outside of the writers' folder: exit code %d: %s", r.Code, r.Stderr)
	}
	if r := s.ctl("arm", "--request", `{"framse":1}`); r.Code != 2 || !oneLine(r.Stderr) || !strings.Contains(r.Stderr, "framse") {
		t.Errorf("arm with an unknown field: exit code %d: %s", r.Code, r.Stderr)
	}
	for _, r := range all {
		r.Signal(t, os.Interrupt)
	}
	for _, r := range all {
		if res := r.Wait(t); res.Code != 0 {
			t.Errorf("exit code %d: %s", res.Code, res.Stderr)
		}
	}
	bin.Verify(t, sum)
	programs.CheckFrames(t, sum)
	s.NothingLeft()
}

// TestForce: with --force a run starts that the disk can't take to its end.
func TestForce(t *testing.T) {
	t.Parallel()
	s := newStation(t, "force")
	r := s.start("--source", small, "--frames", "900000000000000", "--force")
	s.await("frames", r, func(st bus.Status) bool { return st.Durable > 10 })
	r.Signal(t, os.Interrupt)
	if sum := s.end(r, 0); sum.Captured < 10 || sum.Lost != 0 {
		t.Errorf("captured %d, lost %d", sum.Captured, sum.Lost)
	}
	s.NothingLeft()
}

// bad is a folder of files that are no source.
type bad string

func (b bad) at(name string) string { return filepath.Join(string(b), name) }

func badFiles(t *testing.T) bad {
	t.Helper()
	b := bad(t.TempDir())
	write := func(name string, content []byte) {
		if err := os.MkdirAll(filepath.Dir(b.at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.at(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	picture := func(width int) []byte {
		var buf bytes.Buffer
		if err := png.Encode(&buf, image.NewGray(image.Rect(0, 0, width, 8))); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	const header = "YUV4MPEG2 W4 H2 F25:1 Cmono\n"
	write("text.avi", []byte("this is a text that somebody gave the name of a video\n"))
	write("short.y4m", []byte(header+"FRAME\n12345678FRAME\n1234"))
	write("empty.y4m", []byte(header))
	write("torn/a.png", picture(8))
	write("torn/b.png", picture(8)[:30])
	write("unequal/a.png", picture(8))
	write("unequal/b.png", picture(8))
	write("unequal/c.png", picture(9))
	write("none/readme.txt", []byte("no image"))
	return b
}

package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
)

func TestCheck(t *testing.T) {
	for _, uri := range []string{
		"sim:",
		"sim:?width=512&height=512&dtype=uint16&fps=200&pattern=hash",
		"file:/absent.y4m?loop=true&fps=12.5",
		"v4l2:/dev/video7?width=640&height=480&fps=30",
		"video:udp://127.0.0.1:5000?fifo_size=100",
	} {
		if err := Check(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for uri, text := range map[string]string{
		"":                                  "no scheme",
		"usb:0":                             `unknown scheme "usb"`,
		"sim:?fsp=1":                        `unknown key "fsp"`,
		"file:a?rate=5":                     `unknown key "rate": want loop, fps`,
		"file:a?loop=1":                     "loop=1: want true or false",
		"v4l2:/dev/video0?width=640":        "want width and height together",
		"v4l2:/dev/video0?height=0&width=1": "height=0: want a whole number from 1",
		"v4l2:/dev/video0?x=0":              `unknown key "x": want width, height, fps`,
		"video:dev":                         "no URL",
	} {
		if err := Check(uri); !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want ErrSource with %q", uri, err, text)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	movie := filepath.Join(dir, "v.y4m")
	if err := os.WriteFile(movie, []byte("YUV4MPEG2 W1 H1 F5:1 Cmono\nFRAME\nx"), 0o600); err != nil {
		t.Fatal(err)
	}
	for uri, fps := range map[string]float64{"sim:?width=4&height=4&fps=7": 7, "file:" + movie: 5} {
		c, err := Open(t.Context(), uri, Options{})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if got := c.Info().FPS; got != fps {
			t.Errorf("%s: %g frames a second, want %g", uri, got, fps)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, uri := range []string{"nothing", "sim:?width=0", "file:" + dir, "file:" + movie + "x", "v4l2:/dev/none?x=1", "video:x"} {
		if c, err := Open(t.Context(), uri, Options{}); !errors.Is(err, camera.ErrSource) || c != nil {
			t.Errorf("%s: %v, %v, want ErrSource", uri, c, err)
		}
	}
}

package file

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
)

func TestSuite(t *testing.T) {
	dir := t.TempDir()
	movie, folder := filepath.Join(dir, "v.y4m"), dir
	var all [][]byte
	for i := range 6 {
		m := gray8(6, 5, byte(i))
		all = append(all, m.Pix)
		write(t, filepath.Join(dir, fmt.Sprintf("%d.png", i)), pngBytes(t, m))
	}
	write(t, movie, y4mFile("W6 H5 F200:1 Cmono", all...))
	colour := filepath.Join(dir, "c.y4m")
	write(t, colour, y4mFile("W4 H2 F200:1", bytes.Repeat([]byte{100}, 12*6)[:12], make([]byte, 12), make([]byte, 12), make([]byte, 12)))
	pixels := func(dst []byte, n uint64) { copy(dst, all[n%6]) }

	for _, tt := range []struct {
		path, query string
		s           cameratest.Subject
	}{
		{movie, "", cameratest.Subject{Frames: 6, Pixels: pixels}},
		{movie, "fps=0", cameratest.Subject{Frames: 6, Pixels: pixels, Timeline: true}},
		{movie, "fps=500&loop=true", cameratest.Subject{Pixels: pixels}},
		{colour, "", cameratest.Subject{Frames: 4}},
		{folder, "", cameratest.Subject{Frames: 6, Pixels: pixels}},
		{folder, "fps=100&loop=true", cameratest.Subject{Pixels: pixels}},
	} {
		t.Run(filepath.Base(tt.path)+"?"+tt.query, func(t *testing.T) {
			from := func(query string) func(t *testing.T) camera.Camera {
				return func(t *testing.T) camera.Camera {
					c, err := open(t, tt.path, query)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
			}
			tt.s.Open, tt.s.Silent = from(tt.query), from("fps=0.01")
			cameratest.Run(t, tt.s)
		})
	}
}

package file

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// y4mFile makes a file with the planes given, one slice a frame.
func y4mFile(header string, frame ...[]byte) []byte {
	b := []byte("YUV4MPEG2 " + header + "\n")
	for _, f := range frame {
		b = append(append(b, "FRAME\n"...), f...)
	}
	return b
}

func TestY4MGrey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.y4m")
	write(t, path, append(y4mFile("W3 H2 F30000:1001 Ip A1:1 Cmono", []byte{1, 2, 3, 4, 5, 6}), "FRAME Ixyz\nabcdef"...))
	info, all := play(t, path)
	if want := (frames.Geometry{Height: 2, Width: 3, Channels: 1, Dtype: frames.Uint8}); info.Geometry != want || info.Frames != 2 {
		t.Errorf("info %+v", info)
	}
	if string(slices.Concat(all...)) != "\x01\x02\x03\x04\x05\x06abcdef" {
		t.Errorf("frames %v", all)
	}
	cam, err := open(t, path, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := cam.Info().FPS; got != 30000.0/1001 {
		t.Errorf("rate %g, want the file's", got)
	}

	write(t, path, y4mFile("W2 H1 F0:0 Cmono12", []byte{0x34, 0x02, 0xff, 0x0f}))
	info, all = play(t, path)
	if info.Geometry.Dtype != frames.Uint16 || info.Device.SignificantBits != 12 || !bytes.Equal(all[0], []byte{0x34, 0x02, 0xff, 0x0f}) {
		t.Errorf("mono12: %+v %v", info, all)
	}
}

// TestY4MColour compares with ITU-R BT.601 in float64.
func TestY4MColour(t *testing.T) {
	for _, tt := range []struct {
		params     string
		subX, subY int
		full       bool
	}{
		{"", 2, 2, false}, {"C420jpeg", 2, 2, false}, {"C420mpeg2 XCOLORRANGE=LIMITED", 2, 2, false},
		{"C420 XCOLORRANGE=FULL", 2, 2, true}, {"C422", 2, 1, false}, {"C444 XCOLORRANGE=FULL", 1, 1, true},
	} {
		for _, size := range [][2]int{{16, 8}, {7, 5}, {1, 1}} {
			w, h := size[0], size[1]
			cw, ch := (w+tt.subX-1)/tt.subX, (h+tt.subY-1)/tt.subY
			data := make([]byte, w*h+2*cw*ch)
			for i := range data {
				data[i] = byte(i*i*31 + i*97 + 11)
			}
			path := filepath.Join(t.TempDir(), "v.y4m")
			write(t, path, y4mFile(fmt.Sprintf("W%d H%d F25:1 %s", w, h, tt.params), data))
			info, all := play(t, path)
			if info.Geometry.Channels != 3 || info.Geometry.Dtype != frames.Uint8 {
				t.Fatalf("%s: %+v", tt.params, info)
			}
			for y := range h {
				for x := range w {
					luma := float64(data[y*w+x])
					cb := float64(data[w*h+y/tt.subY*cw+x/tt.subX]) - 128
					cr := float64(data[w*h+cw*ch+y/tt.subY*cw+x/tt.subX]) - 128
					if !tt.full {
						luma, cb, cr = (luma-16)*255/219, cb*255/224, cr*255/224
					}
					for c, v := range []float64{
						luma + 1.402*cr,
						luma - 0.114*1.772/0.587*cb - 0.299*1.402/0.587*cr,
						luma + 1.772*cb,
					} {
						want := math.Round(min(max(v, 0), 255))
						if got := float64(all[0][(c*h+y)*w+x]); got != want && math.Abs(v-math.Floor(v)-0.5) > 1e-4 {
							t.Fatalf("%s %dx%d: plane %d (%d,%d) = %g, want %g (%g)", tt.params, w, h, c, y, x, got, want, v)
						}
					}
				}
			}
		}
	}
}

func TestY4MErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.y4m")
	six := []byte("abcdef")
	whole := y4mFile("W3 H2 F25:1 Cmono", six, six)
	for _, tt := range []struct {
		b    []byte
		text string
	}{
		{whole[:len(whole)-1], "truncated: frame 1 has 5 of its 6 bytes"},
		{whole[:len(whole)-9], "truncated: a header line has no end"},
		{whole[:15], "truncated: a header line has no end"},
		{y4mFile("W3 H2 F25:1 Cmono"), "no frame"},
		{append(slices.Clone(whole), "PRAME\nabcdef"...), "frame 2 begins with \"PRAME\""},
		{y4mFile("W0 H2 Cmono", six), "width 0"},
		{y4mFile("W3 H-2 Cmono", six), "height -2"},
		{y4mFile("H2 Cmono", six), "width 0"},
		{y4mFile("W3 H2 C420p10", six), "C420p10 can't be read"},
		{y4mFile("W3 H2 F25 Cmono", six), "25:1"},
		{y4mFile("Wx H2 Cmono", six), "Wx"},
		{append([]byte(y4mMagic), bytes.Repeat([]byte("x"), 3000)...), "longer than 1024"},
	} {
		write(t, path, tt.b)
		wantError(t, path, tt.text)
	}
}

func TestLoopAndEOF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.y4m")
	write(t, path, y4mFile("W1 H1 F10:1 Cmono", []byte{1}, []byte{2}, []byte{3}))
	cam, err := open(t, path, "loop=true&fps=0")
	if err != nil {
		t.Fatal(err)
	}
	if cam.Info().Frames != 0 {
		t.Errorf("%d frames, want 0: a loop has no end", cam.Info().Frames)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		g, err := cam.Grab(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if err := cam.Retrieve(b); err != nil {
			t.Fatal(err)
		}
		if int(b[0]) != i%3+1 || g.FrameID != uint64(i) || g.DeviceNS != int64(i)*100_000_000 {
			t.Errorf("frame %d: %+v, pixel %d", i, g, b[0])
		}
	}
}

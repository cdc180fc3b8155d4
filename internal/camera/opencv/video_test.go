//go:build opencv

package opencv

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vtest is a real street scene of Debian's opencv-doc: 768×576, 795 frames, 10 a second.
const vtest = "/usr/share/doc/opencv-doc/examples/data/vtest.avi"

var limits = Timeouts{Open: 10 * time.Second, Read: 10 * time.Second}

// need fails the test unless vtest.avi and ffmpeg are there.
func need(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(vtest); err != nil {
		t.Fatalf("install opencv-doc: %v", err)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatalf("install ffmpeg: %v", err)
	}
}

// ffmpeg runs FFmpeg's own program to its end.
func ffmpeg(t *testing.T, args ...string) {
	t.Helper()
	need(t)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %q: %v: %s", args, err, out)
	}
}

func openFile(t *testing.T, c FileConfig) camera.Camera {
	t.Helper()
	cam, err := OpenFile(t.Context(), c, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cam.Close() })
	return cam
}

// maxDifference is the documented bound between OpenCV's pixels and those that FFmpeg's program makes: both decode
// with the same library, whose conversion from YCbCr to RGB may round either way. On Debian 12 they are equal.
const maxDifference = 1

// TestEqualsFFmpeg compares every pixel of every frame with what FFmpeg decodes by itself.
func TestEqualsFFmpeg(t *testing.T) {
	need(t)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin", "-i", vtest, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("ffmpeg: %v", err)
		}
	}()
	pipe := bufio.NewReaderSize(out, 1<<20)

	cam := openFile(t, FileConfig{Path: vtest})
	info := cam.Info()
	if want := (frames.Geometry{Height: 576, Width: 768, Channels: 3, Dtype: frames.Uint8}); info.Geometry != want {
		t.Fatalf("geometry %+v, want %+v", info.Geometry, want)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 768 * 576
	want, got := make([]byte, 3*n), make([]byte, 3*n)
	var worst, differing, total int
	for i := 0; ; i++ {
		g, err := cam.Grab(t.Context())
		if _, ferr := io.ReadFull(pipe, want); (ferr == nil) != (err == nil) {
			t.Fatalf("frame %d: OpenCV says %v, FFmpeg %v", i, err, ferr)
		}
		if errors.Is(err, io.EOF) {
			if i != 795 {
				t.Errorf("%d frames, want 795", i)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if g.FrameID != uint64(i) || g.DeviceNS < int64(i)*1e8-1 || g.DeviceNS > int64(i)*1e8+1 {
			t.Fatalf("frame %d: %+v, want its time at 10 frames a second", i, g)
		}
		if err := cam.Retrieve(got); err != nil {
			t.Fatal(err)
		}
		for c := range 3 {
			plane := got[c*n : (c+1)*n]
			for p, v := range plane {
				if d := int(v) - int(want[3*p+c]); d != 0 {
					differing++
					worst = max(worst, d, -d)
				}
			}
		}
		total += 3 * n
	}
	t.Logf("largest difference %d, %d of %d samples differ; RssAnon %s", worst, differing, total, rssAnon(t))
	if worst > maxDifference {
		t.Errorf("a sample differs by %d, more than %d", worst, maxDifference)
	}
}

// rssAnon is this process's anonymous memory.
func rssAnon(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	return string(regexp.MustCompile(`RssAnon:\s*(.*)`).FindSubmatch(b)[1])
}

// TestMemoryStaysBounded plays the file in a loop in a process of its own. Guarantee 1 leaves acquire 64 MiB of
// anonymous memory beside what a decoder needs; here decoder, process and test together keep below that.
func TestMemoryStaysBounded(t *testing.T) {
	need(t)
	const child = "SLUICE_TEST_MEMORY_CHILD"
	if os.Getenv(child) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMemoryStaysBounded$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	cam := openFile(t, FileConfig{Path: vtest, Loop: true})
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, cam.Info().Geometry.FrameBytes())
	last := int64(-1)
	for i := range uint64(2000) {
		g, err := cam.Grab(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if g.FrameID != i || g.DeviceNS <= last {
			t.Fatalf("frame %d: %+v after %d", i, g, last)
		}
		last = g.DeviceNS
		if err := cam.Retrieve(dst); err != nil {
			t.Fatal(err)
		}
	}
	kb, err := strconv.Atoi(strings.TrimSuffix(rssAnon(t), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("RssAnon %d KiB after 2000 frames", kb)
	if kb > 64<<10 {
		t.Errorf("RssAnon is %d KiB, more than 64 MiB", kb)
	}
}

// TestColourOrder makes videos of one colour each.
func TestColourOrder(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string][3]byte{"red": {255, 0, 0}, "lime": {0, 255, 0}, "blue": {0, 0, 255}} {
		path := filepath.Join(dir, name+".mkv")
		ffmpeg(t, "-f", "lavfi", "-i", "color="+name+":s=33x17:r=5,format=gbrp", "-frames:v", "2", "-c:v", "ffv1", "-pix_fmt", "bgr0", path)
		cam := openFile(t, FileConfig{Path: path})
		if err := cam.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := cam.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 3*33*17)
		if err := cam.Retrieve(b); err != nil {
			t.Fatal(err)
		}
		for c := range 3 {
			if plane := b[c*33*17 : (c+1)*33*17]; !bytes.Equal(plane, bytes.Repeat(want[c:c+1], 33*17)) {
				t.Errorf("%s: plane %d begins with %d, want %d throughout", name, c, plane[:3], want[c])
			}
		}
	}
}

// TestGreyStaysGrey compares a lossless grey video with FFmpeg's own pixels.
func TestGreyStaysGrey(t *testing.T) {
	dir := t.TempDir()
	path, raw := filepath.Join(dir, "g.mkv"), filepath.Join(dir, "g.raw")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=s=64x48:r=5", "-frames:v", "3", "-c:v", "ffv1", "-pix_fmt", "gray", path)
	ffmpeg(t, "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", raw)
	want, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	cam := openFile(t, FileConfig{Path: path})
	if g := cam.Info().Geometry; g != (frames.Geometry{Height: 48, Width: 64, Channels: 1, Dtype: frames.Uint8}) {
		t.Fatalf("geometry %s", g)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := cam.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64*48)
		if err := cam.Retrieve(b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want[i*len(b):(i+1)*len(b)]) {
			t.Errorf("frame %d differs", i)
		}
	}
}

func TestSuite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.mkv")
	ffmpeg(t, "-f", "lavfi", "-i", "testsrc2=s=32x24:r=100", "-frames:v", "8", "-c:v", "ffv1", "-pix_fmt", "bgr0", path)
	of := func(c FileConfig) func(*testing.T) camera.Camera {
		c.Path = path
		return func(t *testing.T) camera.Camera { return openFile(t, c) }
	}
	for name, s := range map[string]cameratest.Subject{
		"own rate":   {Open: of(FileConfig{OwnRate: true}), Frames: 8, Unannounced: true},
		"unpaced":    {Open: of(FileConfig{}), Frames: 8, Unannounced: true, Timeline: true},
		"loop":       {Open: of(FileConfig{Loop: true}), Timeline: true},
		"loop paced": {Open: of(FileConfig{Loop: true, FPS: 300})},
	} {
		t.Run(name, func(t *testing.T) {
			s.Silent = of(FileConfig{FPS: 0.01})
			cameratest.Run(t, s)
		})
	}
}

func TestFileErrors(t *testing.T) {
	need(t)
	dir := t.TempDir()
	avi, err := os.ReadFile(vtest)
	if err != nil {
		t.Fatal(err)
	}
	mp4 := filepath.Join(dir, "v.mp4")
	ffmpeg(t, "-i", vtest, "-frames:v", "20", "-c:v", "mpeg4", "-movflags", "+faststart", mp4)
	mkv := filepath.Join(dir, "v.mkv")
	ffmpeg(t, "-i", vtest, "-frames:v", "20", "-c:v", "mpeg4", mkv)
	for name, tt := range map[string]struct {
		data []byte
		text string
	}{
		"half.avi":    {avi[:len(avi)/2], "truncated: it has 4065845 of the 8131690 bytes"},
		"short.avi":   {avi[:len(avi)-1], "truncated"},
		"head.avi":    {avi[:3000], "truncated"},
		"noise.avi":   {bytes.Repeat([]byte("noise"), 5000), "can't open it"},
		"text.txt":    {[]byte("hello"), "can't open it"},
		"cut.mp4":     {cut(t, mp4), "truncated"},
		"cut.mkv":     {cut(t, mkv), "truncated"},
		"nothing.mp4": {nil, "can't open it"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenFile(t.Context(), FileConfig{Path: path}, limits)
		if !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want ErrSource in a line with %q", name, err, tt.text)
		}
	}
	if _, err := OpenFile(t.Context(), FileConfig{Path: filepath.Join(dir, "absent.avi")}, limits); !errors.Is(err, camera.ErrSource) {
		t.Errorf("%v, want ErrSource", err)
	}
	if _, err := OpenDevice(t.Context(), DeviceConfig{Path: "/dev/video-absent"}, limits); !errors.Is(err, camera.ErrSource) {
		t.Errorf("%v, want ErrSource", err)
	}
	if _, err := OpenDevice(t.Context(), DeviceConfig{Path: "/dev/null"}, limits); !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), "is it a camera") {
		t.Errorf("%v, want ErrSource", err)
	}
	if _, err := OpenDevice(t.Context(), DeviceConfig{Path: mp4}, limits); !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), "no device") {
		t.Errorf("%v, want ErrSource", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenFile(ctx, FileConfig{Path: vtest}, limits); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

// cut is the first half of a file.
func cut(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b[:len(b)/2]
}

// TestEndsTooEarly plays a file whose pictures end halfway although its container is whole.
func TestEndsTooEarly(t *testing.T) {
	need(t)
	b, err := os.ReadFile(vtest)
	if err != nil {
		t.Fatal(err)
	}
	// The second half of the chunks is overwritten: FFmpeg finds no further frame.
	clear(b[len(b)/2:])
	path := filepath.Join(t.TempDir(), "holed.avi")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cam := openFile(t, FileConfig{Path: path})
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		_, err := cam.Grab(t.Context())
		if err == nil {
			continue
		}
		if !errors.Is(err, camera.ErrFailed) || n < 100 || n > 700 {
			t.Errorf("after %d frames: %v, want ErrFailed", n, err)
		}
		break
	}
}

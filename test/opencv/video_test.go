//go:build opencv

// Package opencv_test runs the programs of the OpenCV build on a real video, from a file and live.
package opencv_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// vtest is a real street scene of Debian's package opencv-doc: 768×576, colour, 795 frames, 10 a second.
const (
	vtest                 = "/usr/share/doc/opencv-doc/examples/data/vtest.avi"
	width, height, length = 768, 576, 795
)

// rounding is the most by which a sample may differ from what FFmpeg's own program makes: both decode with the same
// library, but the conversion from YCbCr to RGB may round either way.
const rounding = 1

var bin *programs.Programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = programs.Build("opencv"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestVideoFile records vtest.avi and holds every sample in the store against what FFmpeg decodes by itself. That
// the planes are red, green and blue in this order follows: FFmpeg is asked for RGB.
func TestVideoFile(t *testing.T) {
	s := bin.Record(t, 0, "--camera", "cv-file", "--source", "file:"+vtest+"?fps=0", "--writers", "2", "--analyzers", "1", "--budget", "256MiB",
		"--compress", "zstd", "--out", t.TempDir())
	if s.Captured != length || s.Written != length || s.EndedBy != run.EndedSource || s.Dtype != frames.Uint8 {
		t.Errorf("captured %d, written %d, ended by %q, %s; want all %d", s.Captured, s.Written, s.EndedBy, s.Dtype, length)
	}
	bin.Verify(t, s)

	r, err := store.OpenReader(vfs.OS{}, s.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if g, want := r.Attributes().Geometry, (frames.Geometry{Height: height, Width: width, Channels: 3, Dtype: frames.Uint8}); g != want {
		t.Fatalf("the store has frames of %s, want %s", g, want)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin", "-i", vtest, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	pipe, err := cmd.StdoutPipe()
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
	out := bufio.NewReaderSize(pipe, 1<<20)
	packed, planar := make([]byte, width*height*3), []byte(nil)
	worst := 0
	for seq := range uint64(length) {
		if _, err := io.ReadFull(out, packed); err != nil {
			t.Fatalf("frame %d of ffmpeg: %v", seq, err)
		}
		if planar, err = r.Frame(planar[:0], seq); err != nil {
			t.Fatalf("frame %d of the store: %v", seq, err)
		}
		worst = max(worst, difference(packed, planar))
	}
	if worst > rounding {
		t.Errorf("a sample differs by %d from FFmpeg's, want at most %d", worst, rounding)
	}
	if n, err := io.Copy(io.Discard, out); n != 0 || err != nil {
		t.Errorf("ffmpeg has %d bytes more than the store (%v)", n, err)
	}
	t.Logf("the largest difference is %d", worst)
}

// difference is the largest one between a frame as FFmpeg packs it (y, x, c) and as the store has it (c, y, x).
func difference(packed, planar []byte) (worst int) {
	const plane = width * height
	for i := range plane {
		for c := range 3 {
			worst = max(worst, abs(int(packed[3*i+c])-int(planar[c*plane+i])))
		}
	}
	return worst
}

func abs(n int) int { return max(n, -n) }

// TestLiveVideo takes the same video from FFmpeg over UDP, which waits for nobody, and stops the writer for a while:
// the frames that come meanwhile and find no room are in the ledger, and all that were captured are accounted for.
func TestLiveVideo(t *testing.T) {
	port := freePort(t)
	url := programs.Broker(t)
	sender := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", vtest,
		"-an", "-c:v", "mpeg2video", "-q:v", "3", "-g", "5", "-f", "mpegts", fmt.Sprintf("udp://127.0.0.1:%d?pkt_size=1316", port))
	var complaints bytes.Buffer
	sender.Stderr = &complaints
	if err := sender.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sender.Process.Kill()
		_ = sender.Wait() // killed: its error says so
	}()

	states := programs.Listen[bus.Backpressure](t, url, bus.BackpressureSubject("cv-live"))
	status := programs.Listen[bus.Status](t, url, bus.StatusSubject("cv-live"))
	running := bin.Start(t, "sluice", "run", "--json", "--nats", url, "--camera", "cv-live", "--source", fmt.Sprintf("video:udp://127.0.0.1:%d", port),
		"--frames", "120", "--on-full", "drop", "--budget", "16MiB", "--analyzers", "0", "--out", t.TempDir())
	atWork := status.Wait(t, time.Minute, "a writer at work", func(s bus.Status) bool {
		return s.Durable > 0 && slices.ContainsFunc(s.Members, isWriter)
	})
	writer := atWork.Members[slices.IndexFunc(atWork.Members, isWriter)].PID
	if err := syscall.Kill(writer, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	states.Wait(t, time.Minute, "a full budget", func(b bus.Backpressure) bool { return b.To == bus.BudgetFull })
	// Two seconds of the video find no room.
	status.Wait(t, time.Minute, "lost frames", func(s bus.Status) bool { return s.Lost >= 20 })
	if err := syscall.Kill(writer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r := running.Wait(t)
	if r.Code != 3 {
		t.Fatalf("exit code %d, want 3\n%s\nffmpeg: %s", r.Code, r.Stderr, complaints.String())
	}
	var s run.Summary
	r.LastLine(t, &s)
	if s.Captured != 120 || s.Lost < 20 || s.Written+s.Lost != s.Captured || s.LostByReason["dropped"] < 20 {
		t.Errorf("captured %d, written %d, lost %d (%v)", s.Captured, s.Written, s.Lost, s.LostByReason)
	}
	bin.Verify(t, s)
}

func isWriter(m bus.Member) bool { return m.Group == "writer" }

// freePort is a UDP port of loopback that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

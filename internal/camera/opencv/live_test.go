//go:build opencv

package opencv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
)

// port is a UDP port of loopback that was free a moment ago.
func port(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// serve sends vtest.avi in real time, again and again, to the URL that it returns.
func serve(t *testing.T) (string, *exec.Cmd) {
	t.Helper()
	need(t)
	url := fmt.Sprintf("udp://127.0.0.1:%d", port(t))
	cmd := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", vtest,
		"-c:v", "mpeg2video", "-q:v", "3", "-g", "5", "-r", "25", "-f", "mpegts", url+"?pkt_size=1316")
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if out.Len() > 0 {
			t.Logf("ffmpeg: %s", out.Bytes())
		}
	})
	return url, cmd
}

func openURL(t *testing.T, url string) camera.Camera {
	t.Helper()
	cam, err := OpenURL(t.Context(), url, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cam.Close() })
	return cam
}

func TestLiveSuite(t *testing.T) {
	url, _ := serve(t)
	cameratest.Run(t, cameratest.Subject{
		Open: func(t *testing.T) camera.Camera { return openURL(t, url) },
	})
}

// TestLateConsumer waits for frames to be lost: the ids tell, and memory is bounded by the ring.
func TestLateConsumer(t *testing.T) {
	url, _ := serve(t)
	cam := openURL(t, url)
	info := cam.Info()
	if info.CanPause {
		t.Error("a live stream can pause")
	}
	if info.Geometry.Width != 768 || info.Geometry.Height != 576 || info.Geometry.Channels != 3 {
		t.Errorf("geometry %s", info.Geometry)
	}
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, info.Geometry.FrameBytes())
	first, err := cam.Grab(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.FrameID != 0 {
		t.Errorf("the first frame has id %d", first.FrameID)
	}
	l := cam.(*Live)
	for deadline := time.After(20 * time.Second); len(l.ready) < cap(l.ready)-1; { // one is held
		select {
		case <-deadline:
			t.Fatalf("%d frames in 20 s", len(l.ready))
		case <-time.After(10 * time.Millisecond):
		}
	}
	<-time.After(time.Second) // of which every frame is lost
	last := first
	jumps := uint64(0)
	for range cap(l.ready) + 2 {
		g, err := cam.Grab(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if g.FrameID <= last.FrameID || g.DeviceNS <= last.DeviceNS || g.Arrived.Before(last.Arrived) {
			t.Errorf("%+v after %+v", g, last)
		}
		jumps += g.FrameID - last.FrameID - 1
		last = g
		if err := cam.Retrieve(dst); err != nil {
			t.Fatal(err)
		}
	}
	if jumps < 10 || jumps > 100 {
		t.Errorf("%d frames missed in a second at 25 a second", jumps)
	}
	t.Logf("%d frames missed, ring of %d, RssAnon %s", jumps, cap(l.ready), rssAnon(t))
}

func TestNobodySends(t *testing.T) {
	url := fmt.Sprintf("udp://user:secret@127.0.0.1:%d", port(t))
	short := Timeouts{Open: 300 * time.Millisecond, Read: 300 * time.Millisecond}
	began := time.Now()
	_, err := OpenURL(t.Context(), url, short)
	if !errors.Is(err, camera.ErrSource) || !errors.Is(err, camera.ErrTimeout) {
		t.Errorf("%v, want ErrSource and ErrTimeout", err)
	}
	if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n")) {
		t.Errorf("the error shows the password or is more than a line: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	// A context that ends first: the call returns at once, the attempt ends by itself (goleak sees to that).
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := OpenURL(ctx, url, Timeouts{Open: time.Second, Read: time.Second}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
	if _, err := OpenURL(t.Context(), "http://127.0.0.1:1/stream", short); !errors.Is(err, camera.ErrSource) {
		t.Errorf("%v, want ErrSource", err)
	}
}

func TestStreamFallsSilent(t *testing.T) {
	url, cmd := serve(t)
	cam, err := OpenURL(t.Context(), url, Timeouts{Open: 10 * time.Second, Read: 700 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer cam.Close()
	if err := cam.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cam.Grab(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); !errors.Is(err, context.DeadlineExceeded); {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		_, err = cam.Grab(ctx)
		cancel()
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Fatalf("a grab of 100 ms took %v", took)
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want the context's error", err)
		}
	}
	for {
		_, err := cam.Grab(t.Context())
		if err == nil {
			continue
		}
		if !errors.Is(err, camera.ErrFailed) || !errors.Is(err, camera.ErrTimeout) {
			t.Errorf("%v, want ErrFailed and ErrTimeout", err)
		}
		break
	}
	if _, err := cam.Grab(t.Context()); !errors.Is(err, camera.ErrFailed) {
		t.Errorf("%v, want ErrFailed again", err)
	}
}

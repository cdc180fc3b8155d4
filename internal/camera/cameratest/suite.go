package cameratest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/camera"
)

// Subject is a camera and what the suite has to know of it.
type Subject struct {
	// Open returns a fresh camera that is not started; the suite closes it. It is called once for each test.
	Open func(t *testing.T) camera.Camera
	// Frames is how many frames a finite source has, at least 4; 0 where it is endless.
	Frames uint64
	// Unannounced says that Info does not tell of Frames, as in videos whose headers only estimate them.
	Unannounced bool
	// Pixels, if not nil, writes what frame n since the start must be.
	Pixels func(dst []byte, n uint64)
	// Timeline says that the device timestamps are the source's own timeline, in which a pause is no gap.
	Timeline bool
	// Silent, if not nil, returns a fresh camera that sends nothing for a long time after its first frame.
	Silent func(t *testing.T) camera.Camera
	// Slack is how far Arrived may lie from the present, and how long a cancelled call may take: 5 s if 0.
	Slack time.Duration
}

// Run checks the contract of [camera.Camera] and [camera.Pauser].
func Run(t *testing.T, s Subject) {
	if s.Slack == 0 {
		s.Slack = 5 * time.Second
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"info", testInfo},
		{"order", testOrder},
		{"frames", testFrames},
		{"checksums", testChecksums},
		{"give up a frame", testGiveUp},
		{"dst of another size", testSize},
		{"cancelled", testCancelled},
		{"cancel while waiting", testCancelWaiting},
		{"end", testEnd},
		{"pause", testPause},
		{"pause with a frame in hand", testPauseHolding},
		{"seek", testSeek},
		{"close", testClose},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			tt.test(t, s)
			goleak.VerifyNone(t, before)
		})
	}
}

// device opens the camera for a test that ends before its cleanups, so that goroutines can be counted.
func device(t *testing.T, open func(*testing.T) camera.Camera) (camera.Camera, func()) {
	t.Helper()
	c := open(t)
	return c, func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func start(t *testing.T, c camera.Camera) {
	t.Helper()
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
}

func grab(t *testing.T, c camera.Camera) camera.Grabbed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g, err := c.Grab(ctx)
	if err != nil {
		t.Fatalf("grab: %v", err)
	}
	return g
}

const guard = 64

// retrieve gets the pixels.
func retrieve(t *testing.T, c camera.Camera) []byte {
	t.Helper()
	return guarded(t, c.Info().Geometry.FrameBytes(), c.Retrieve)
}

// guarded has n bytes written that have guards around them.
func guarded(t *testing.T, n int, write func(dst []byte) error) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xA5}, n+2*guard)
	if err := write(b[guard : guard+n : guard+n]); err != nil {
		t.Fatalf("retrieve: %v", err)
	}
	for _, g := range [][]byte{b[:guard], b[guard+n:]} {
		if !bytes.Equal(g, bytes.Repeat([]byte{0xA5}, guard)) {
			t.Fatal("retrieve wrote outside dst")
		}
	}
	return b[guard : guard+n]
}

func testInfo(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	i := c.Info()
	if err := i.Geometry.Validate(); err != nil {
		t.Errorf("geometry: %v", err)
	}
	if n := i.Device.SignificantBits; n < 1 || n > 8*i.Geometry.Dtype.Size() {
		t.Errorf("%d significant bits in %s", n, i.Geometry.Dtype)
	}
	if i.Device.Model == "" || i.Device.Clock == "" || i.Device.Stamps == "" {
		t.Errorf("device %+v: want model, clock and what it stamps", i.Device)
	}
	if _, ok := c.(camera.Pauser); ok != i.CanPause {
		t.Errorf("CanPause is %t, a Pauser: %t", i.CanPause, ok)
	}
	announced := s.Frames
	if s.Unannounced {
		announced = 0
	}
	if i.Frames != announced {
		t.Errorf("%d frames, want %d", i.Frames, announced)
	}
	if i.FPS < 0 {
		t.Errorf("%g frames per second", i.FPS)
	}
	switch i.IDBits {
	case 0, 16, 32, 64:
	default:
		t.Errorf("ids of %d bits: want 0, 16, 32 or 64", i.IDBits)
	}
	start(t, c)
	grab(t, c)
	retrieve(t, c)
	if after := c.Info(); !reflect.DeepEqual(after, i) {
		t.Errorf("info was %+v, and is %+v after the start", i, after)
	}
}

// wantOrder checks an error of a call out of order.
func wantOrder(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, camera.ErrOrder) {
		t.Errorf("%s: %v, want ErrOrder", what, err)
	}
}

func testOrder(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	dst := make([]byte, c.Info().Geometry.FrameBytes())
	p, _ := c.(camera.Pauser)
	_, err := c.Grab(t.Context())
	wantOrder(t, "grab before start", err)
	wantOrder(t, "retrieve before start", c.Retrieve(dst))
	if p != nil {
		wantOrder(t, "pause before start", p.Pause())
		wantOrder(t, "resume before start", p.Resume())
	}
	start(t, c)
	wantOrder(t, "second start", c.Start(t.Context()))
	wantOrder(t, "retrieve before grab", c.Retrieve(dst))
	grab(t, c)
	retrieve(t, c)
	wantOrder(t, "second retrieve", c.Retrieve(dst))
	grab(t, c)
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	wantOrder(t, "retrieve after close", c.Retrieve(dst))
	_, err = c.Grab(t.Context())
	wantOrder(t, "grab after close", err)
	wantOrder(t, "start after close", c.Start(t.Context()))
}

// clock checks the timestamps and ids of consecutive frames.
type clock struct {
	unwrap *camera.Unwrapper
	last   camera.Grabbed
	any    bool
	seq    uint64 // frames since the start, missed ones included, −1
}

func newClock(t *testing.T, c camera.Camera) *clock {
	t.Helper()
	u, err := camera.NewUnwrapper(c.Info())
	if err != nil {
		t.Fatal(err)
	}
	return &clock{unwrap: u}
}

// next returns the frame's number since the start, from 0.
func (k *clock) next(t *testing.T, s Subject, g camera.Grabbed) uint64 {
	t.Helper()
	step := k.unwrap.Next(g.FrameID, g.DeviceNS)
	if step.Anomaly != camera.Regular {
		t.Errorf("frame id %d after %d: %+v", g.FrameID, k.last.FrameID, step)
	}
	if k.any {
		k.seq++
	}
	k.seq += step.Missed
	if k.any && (g.DeviceNS < k.last.DeviceNS || g.Arrived.Before(k.last.Arrived)) {
		t.Errorf("time runs backwards: %+v after %+v", g, k.last)
	}
	if off := time.Since(g.Arrived).Abs(); off > s.Slack {
		t.Errorf("the host's time of arrival is off by %v", off)
	}
	k.last, k.any = g, true
	return k.seq
}

func testFrames(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	start(t, c)
	k := newClock(t, c)
	for range 4 {
		g := grab(t, c)
		n := k.next(t, s, g)
		got := retrieve(t, c)
		if s.Pixels == nil || g.Incomplete {
			continue
		}
		want := make([]byte, len(got))
		s.Pixels(want, n)
		if !bytes.Equal(got, want) {
			t.Fatalf("frame %d (id %d) has wrong pixels", n, g.FrameID)
		}
	}
}

func testGiveUp(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	start(t, c)
	k := newClock(t, c)
	k.next(t, s, grab(t, c))
	k.next(t, s, grab(t, c))
	g := grab(t, c)
	n := k.next(t, s, g)
	got := retrieve(t, c)
	if s.Pixels != nil && !g.Incomplete {
		want := make([]byte, len(got))
		s.Pixels(want, n)
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d has the pixels of another one", n)
		}
	}
}

func testSize(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	start(t, c)
	grab(t, c)
	n := c.Info().Geometry.FrameBytes()
	wantOrder(t, "retrieve into a byte too few", c.Retrieve(make([]byte, n-1)))
	wantOrder(t, "retrieve into a byte too many", c.Retrieve(make([]byte, n+1)))
	wantOrder(t, "retrieve into nothing", c.Retrieve(nil))
}

func testCancelled(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("start: %v, want the context's error", err)
	}
	start(t, c) // it may be tried again
	grab(t, c)
	if _, err := c.Grab(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("grab: %v, want the context's error", err)
	}
	grab(t, c) // and goes on
	retrieve(t, c)
}

func testCancelWaiting(t *testing.T, s Subject) {
	if s.Silent == nil {
		return
	}
	c, closing := device(t, s.Silent)
	defer closing()
	start(t, c)
	grab(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := c.Grab(ctx)
		waiting <- err
	}()
	timer := time.AfterFunc(20*time.Millisecond, cancel)
	defer timer.Stop()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("grab: %v, want the context's error", err)
	}
	if took := time.Since(began); took > s.Slack {
		t.Errorf("a cancelled grab took %v", took)
	}
	cancel()
}

func testEnd(t *testing.T, s Subject) {
	if s.Frames == 0 {
		return
	}
	c, closing := device(t, s.Open)
	defer closing()
	start(t, c)
	k := newClock(t, c)
	for n := uint64(0); ; n++ {
		g, err := c.Grab(t.Context())
		if errors.Is(err, io.EOF) {
			if n != s.Frames {
				t.Errorf("the end came after %d frames of %d", n, s.Frames)
			}
			break
		}
		if err != nil {
			t.Fatalf("grab %d: %v", n, err)
		}
		k.next(t, s, g)
	}
	for range 3 {
		if _, err := c.Grab(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v, want EOF again", err)
		}
	}
	wantOrder(t, "retrieve after the end", c.Retrieve(make([]byte, c.Info().Geometry.FrameBytes())))
}

func testPause(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	p, ok := c.(camera.Pauser)
	if !ok {
		return
	}
	start(t, c)
	k := newClock(t, c)
	k.next(t, s, grab(t, c))
	before := k.last
	retrieve(t, c)
	if err := p.Pause(); err != nil {
		t.Fatalf("pause: %v", err)
	}
	const pause = 100 * time.Millisecond
	<-time.After(pause)
	if err := p.Resume(); err != nil {
		t.Fatalf("resume: %v", err)
	}
	k.unwrap.Resumed()
	g := grab(t, c)
	if n := k.next(t, s, g); n != 1 {
		t.Errorf("frame %d follows the pause, want 1: the ids don't show a pause", n)
	}
	got := retrieve(t, c)
	if gap := time.Duration(g.DeviceNS - before.DeviceNS); !s.Timeline && gap < pause {
		t.Errorf("a pause of %v shows as %v in the device timestamps", pause, gap)
	}
	if s.Pixels != nil && !g.Incomplete {
		want := make([]byte, len(got))
		s.Pixels(want, 1)
		if !bytes.Equal(got, want) {
			t.Error("the frame after the pause has wrong pixels")
		}
	}
	k.next(t, s, grab(t, c))
}

// testPauseHolding pauses between Grab and Retrieve: that is where an acquisition learns that it has no room.
func testPauseHolding(t *testing.T, s Subject) {
	for _, resumeFirst := range []bool{true, false} {
		c, closing := device(t, s.Open)
		p, ok := c.(camera.Pauser)
		if !ok {
			closing()
			return
		}
		start(t, c)
		k := newClock(t, c)
		n := k.next(t, s, grab(t, c))
		if err := p.Pause(); err != nil {
			t.Fatalf("pause: %v", err)
		}
		if resumeFirst {
			if err := p.Resume(); err != nil {
				t.Fatalf("resume: %v", err)
			}
		}
		got := retrieve(t, c)
		if s.Pixels != nil && !k.last.Incomplete {
			want := make([]byte, len(got))
			s.Pixels(want, n)
			if !bytes.Equal(got, want) {
				t.Errorf("frame %d, held over a pause, has wrong pixels", n)
			}
		}
		if !resumeFirst {
			if err := p.Resume(); err != nil {
				t.Fatalf("resume: %v", err)
			}
		}
		k.unwrap.Resumed()
		if next := k.next(t, s, grab(t, c)); next != n+1 {
			t.Errorf("frame %d follows %d over a pause", next, n)
		}
		closing()
	}
}

// testSeek begins at the third frame: it must be the one that another camera comes to by itself.
func testSeek(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	sk, ok := c.(camera.Seeker)
	if !ok {
		return
	}
	if err := sk.Seek(2); err != nil {
		t.Fatalf("seek: %v", err)
	}
	start(t, c)
	wantOrder(t, "seek after start", sk.Seek(3))
	g := grab(t, c)
	if n := newClock(t, c).next(t, s, g); c.Info().IDFromStart && n < 2 {
		t.Errorf("the first frame is %d (id %d), want 2", n, g.FrameID)
	}
	got := retrieve(t, c)
	other, closingOther := device(t, s.Open)
	defer closingOther()
	start(t, other)
	for {
		h := grab(t, other)
		want := retrieve(t, other)
		if h.FrameID < g.FrameID {
			continue
		}
		if h.FrameID == g.FrameID && !bytes.Equal(got, want) {
			t.Errorf("frame id %d has other pixels after a seek", g.FrameID)
		}
		return
	}
}

func testClose(t *testing.T, s Subject) {
	_, closing := device(t, s.Open)
	closing() // never started
	closing()
	c, closing := device(t, s.Open)
	start(t, c)
	closing()
	closing()
	c, closing = device(t, s.Open)
	start(t, c)
	grab(t, c) // its pixels still wait
	closing()
	closing()
}

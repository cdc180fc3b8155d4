package cameratest

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/camera"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFakePassesTheSuite(t *testing.T) {
	paced := Sequence(6, 200)
	lazy := Script{Frames: Sequence(1, 0), End: Stalls}
	for name, script := range map[string]Script{
		"finite":      {Frames: Sequence(6, 0), IDBits: 64, IDFromStart: true},
		"no ids":      {Frames: Sequence(6, 0)},
		"paced":       {Frames: paced, FPS: 200, IDBits: 64, IDFromStart: true},
		"16 bits":     {Frames: Number(Sequence(6, 200), 16, true, 65532), FPS: 200, IDBits: 16, IDSkipsZero: true},
		"free":        {Frames: Sequence(5000, 1000), FPS: 1000, IDBits: 64, IDFromStart: true, Free: true},
		"free 16 bit": {Frames: Number(Sequence(5000, 1000), 16, true, 0), FPS: 1000, IDBits: 16, IDSkipsZero: true, IDFromStart: true, Free: true, End: Stalls},
	} {
		t.Run(name, func(t *testing.T) {
			s := Subject{
				Open:   func(*testing.T) camera.Camera { return NewFake(script).Camera() },
				Silent: func(*testing.T) camera.Camera { return NewFake(lazy).Camera() },
				Pixels: Pixels,
			}
			if !script.Free {
				s.Frames = uint64(len(script.Frames))
			}
			s.Timeline = script.FPS == 0 // no clock to show the pause in
			if script.IDBits == 16 && !script.IDFromStart {
				s.Pixels = nil // the suite can't know which frame the first one is
			}
			Run(t, s)
		})
	}
}

// ids grabs and retrieves n frames.
func ids(t *testing.T, c camera.Camera, n int) []uint64 {
	t.Helper()
	var got []uint64
	for range n {
		g, err := c.Grab(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Retrieve(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		got = append(got, g.FrameID)
	}
	return got
}

func TestFakeLosesWhatFindsNoBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(Script{Frames: Sequence(100, 1000), FPS: 1000, IDBits: 64, Free: true, Buffers: 3})
		c := f.Camera()
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, c, 2); !slices.Equal(got, []uint64{0, 1}) {
			t.Errorf("ids %v", got)
		}
		<-time.After(10 * time.Millisecond) // frames 2, 3 and 4 are taken in, the rest finds no buffer
		if got := ids(t, c, 4); !slices.Equal(got, []uint64{2, 3, 4, 12}) {
			t.Errorf("ids %v", got)
		}
		if f.Lost() != 7 {
			t.Errorf("%d lost, want 7", f.Lost())
		}
		// A grabbed frame keeps its buffer until it is retrieved.
		if _, err := c.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
		if err := c.Retrieve(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, c, 3); !slices.Equal(got, []uint64{14, 15, 24}) {
			t.Errorf("ids %v", got)
		}
	})
}

func TestFakeEndsAndGate(t *testing.T) {
	gate := make(chan struct{}, 2)
	c := NewFake(Script{Frames: []Frame{{ID: 7}, {ID: 9, Incomplete: true}}, IDBits: 16, Gate: gate, End: Fails}).Camera()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate <- struct{}{}
	gate <- struct{}{}
	if g, err := c.Grab(t.Context()); err != nil || g.FrameID != 7 || g.Incomplete {
		t.Errorf("%+v, %v", g, err)
	}
	if g, err := c.Grab(t.Context()); err != nil || g.FrameID != 9 || !g.Incomplete {
		t.Errorf("%+v, %v", g, err)
	}
	for range 2 {
		if _, err := c.Grab(t.Context()); !errors.Is(err, camera.ErrFailed) {
			t.Errorf("%v, want ErrFailed", err)
		}
	}
}

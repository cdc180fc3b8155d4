package frames_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestFrameReferences(t *testing.T) {
	released := 0
	pixels := []byte{1, 2, 3, 4}
	f := frames.NewFrame(frames.Header{Seq: 7}, pixels, nil, func() { released++ })
	f.Retain()
	f.Release()
	got, err := f.Pixels()
	if err != nil || &got[0] != &pixels[0] || len(got) != 4 || released != 0 {
		t.Fatalf("with one reference left: %v, %v, released %d times", got, err, released)
	}
	f.Release()
	if released != 1 {
		t.Errorf("released %d times, want once", released)
	}
	if got, err := f.Pixels(); got != nil || !errors.Is(err, frames.ErrReleased) {
		t.Errorf("pixels after the release are %v, error %v", got, err)
	}
	wantPanic(t, "frames: Retain of a released frame", f.Retain)
	wantPanic(t, "frames: Release of a released frame", releasedFrame().Release)
	if released != 1 {
		t.Errorf("released %d times, want once", released)
	}
}

func TestFrameWithoutOwner(t *testing.T) {
	f := frames.NewFrame(frames.Header{}, nil, nil, nil)
	if err := f.Intact(); err != nil {
		t.Error(err)
	}
	f.Release()
}

func TestIntact(t *testing.T) {
	intact := true
	f := frames.NewFrame(frames.Header{Seq: 7}, nil, func() bool { return intact }, nil)
	if err := f.Intact(); err != nil {
		t.Error(err)
	}
	intact = false
	if err := f.Intact(); !errors.Is(err, frames.ErrReclaimed) {
		t.Errorf("error is %v, want ErrReclaimed", err)
	}
}

// TestConcurrentReferences releases from many goroutines: the memory is freed once, after all of them.
func TestConcurrentReferences(t *testing.T) {
	for range 200 {
		var reading, freed atomic.Int32
		f := frames.NewFrame(frames.Header{}, []byte{1}, nil, func() {
			freed.Add(1)
			if reading.Load() != 0 {
				t.Error("freed while somebody reads")
			}
		})
		var wg sync.WaitGroup
		for range 4 {
			f.Retain()
			reading.Add(1)
			wg.Go(func() {
				if _, err := f.Pixels(); err != nil {
					t.Error(err)
				}
				reading.Add(-1)
				f.Release()
			})
		}
		f.Release()
		wg.Wait()
		if freed.Load() != 1 {
			t.Fatalf("freed %d times", freed.Load())
		}
	}
}

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if got := recover(); got != want {
			t.Errorf("panic is %v, want %q", got, want)
		}
	}()
	f()
}

func releasedFrame() *frames.Frame {
	f := frames.NewFrame(frames.Header{}, nil, nil, nil)
	f.Release()
	return f
}

// place is a Memory that counts.
type place struct{ intact, freed int }

func (p *place) Intact() bool { p.intact++; return p.intact == 1 }

func (p *place) Free() { p.freed++ }

// TestInit: frames in one piece of memory cost no allocation of their own.
func TestInit(t *testing.T) {
	var p place
	pixels := []byte{7}
	list := make([]frames.Frame, 2)
	n := testing.AllocsPerRun(10, func() {
		p = place{}
		clear(list)
		list[0].Init(frames.Header{Seq: 1}, pixels, &p)
		list[1].Init(frames.Header{Seq: 2}, nil, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	f := &list[0]
	if err := f.Intact(); err != nil {
		t.Error(err)
	}
	if err := f.Intact(); !errors.Is(err, frames.ErrReclaimed) {
		t.Errorf("memory of another frame: %v", err)
	}
	f.Retain()
	f.Release()
	f.Release()
	if p.freed != 1 {
		t.Errorf("the memory was freed %d times", p.freed)
	}
	if err := list[1].Intact(); err != nil {
		t.Errorf("a frame without a memory: %v", err)
	}
	list[1].Release()
}

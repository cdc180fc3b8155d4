package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, query string) camera.Camera {
	t.Helper()
	s, err := camera.ParseSource("sim:?" + query)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func running(t testing.TB, query string) camera.Camera {
	t.Helper()
	c := open(t, query)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSuite(t *testing.T) {
	for _, query := range []string{
		"pattern=hash&fps=0",
		"pattern=hash&fps=500&dtype=uint8",
		"pattern=wave&fps=500",
		"pattern=noise&fps=0",
		"pattern=counter&fps=500&free=true",
		"pattern=hash&fps=500&idbits=16&skipzero=true&missevery=3&incompleteevery=2",
		"pattern=hash&fps=2000&free=true&ring=1&idbits=32",
	} {
		t.Run(query, func(t *testing.T) {
			query := "width=19&height=11&" + query
			p, _, err := Expected("sim:?" + query)
			if err != nil {
				t.Fatal(err)
			}
			cameratest.Run(t, cameratest.Subject{
				Open:   func(t *testing.T) camera.Camera { return open(t, query) },
				Silent: func(t *testing.T) camera.Camera { return open(t, "width=19&height=11&fps=0.01") },
				Pixels: p.Fill,
			})
		})
	}
}

// grabbed grabs n frames.
func grabbed(t *testing.T, c camera.Camera, n int) (all []camera.Grabbed) {
	t.Helper()
	for range n {
		g, err := c.Grab(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func ids(gs []camera.Grabbed) (n []uint64) {
	for _, g := range gs {
		n = append(n, g.FrameID)
	}
	return n
}

func times(gs []camera.Grabbed) (d []time.Duration) {
	for _, g := range gs {
		d = append(d, time.Duration(g.DeviceNS))
	}
	return d
}

const ms = time.Millisecond

func TestClockStaysIdeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := running(t, "width=8&height=8&fps=100")
		began := time.Now()
		if got := times(grabbed(t, c, 3)); !slices.Equal(got, []time.Duration{0, 10 * ms, 20 * ms}) {
			t.Errorf("device times %v", got)
		}
		if took := time.Since(began); took != 20*ms {
			t.Errorf("three frames took %v", took)
		}
		<-time.After(35 * ms) // a late consumer at 55 ms catches up at once
		if got := times(grabbed(t, c, 3)); !slices.Equal(got, []time.Duration{30 * ms, 40 * ms, 50 * ms}) {
			t.Errorf("device times %v", got)
		}
		if took := time.Since(began); took != 55*ms {
			t.Errorf("catching up took %v", took-55*ms)
		}
		if got := grabbed(t, c, 1); time.Since(began) != 60*ms || !got[0].Arrived.Equal(time.Now()) {
			t.Errorf("the next frame came at %v: %+v", time.Since(began), got)
		}
	})
}

func TestPauseIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := running(t, "width=8&height=8&fps=100")
		p := c.(camera.Pauser)
		grabbed(t, c, 2)
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		<-time.After(500 * ms)
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		got := grabbed(t, c, 2)
		if want := []time.Duration{510 * ms, 520 * ms}; !slices.Equal(times(got), want) || !slices.Equal(ids(got), []uint64{2, 3}) {
			t.Errorf("after the pause %+v, want times %v", got, want)
		}
		// A pause that is over before the next frame is due shifts nothing.
		if err := errors.Join(p.Pause(), p.Resume()); err != nil {
			t.Fatal(err)
		}
		if got := times(grabbed(t, c, 1)); got[0] != 530*ms {
			t.Errorf("device time %v, want 530ms", got)
		}
	})
}

func TestFreeRunningLosesFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := running(t, "width=8&height=8&fps=100&free=true&ring=4&pattern=counter&dtype=uint8")
		if c.Info().CanPause {
			t.Error("it can pause")
		}
		grabbed(t, c, 1)
		<-time.After(95 * ms) // frames 1 to 9 are due, the newest four are kept
		got := grabbed(t, c, 5)
		if want := []uint64{6, 7, 8, 9, 10}; !slices.Equal(ids(got), want) {
			t.Errorf("ids %v, want %v", ids(got), want)
		}
		if want := []time.Duration{60 * ms, 70 * ms, 80 * ms, 90 * ms, 100 * ms}; !slices.Equal(times(got), want) {
			t.Errorf("times %v, want %v", times(got), want)
		}
		b := make([]byte, 64)
		if err := c.Retrieve(b); err != nil || b[0] != byte(10*131%256) {
			t.Errorf("pixel %d, %v: want that of frame 10", b[0], err)
		}
	})
}

func TestFreeRunningIsExactFarOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := running(t, "width=1&height=1&fps=3&free=true&ring=1")
		<-time.After(1_000_000 * time.Hour) // 10.8e9 frames, each due within the clock's nanosecond
		got := grabbed(t, c, 1)[0]
		if want := uint64(1_000_000 * 3600 * 3); got.FrameID != want || got.DeviceNS != int64(1_000_000*time.Hour) {
			t.Errorf("%+v, want id %d", got, want)
		}
	})
}

func TestIDs(t *testing.T) {
	for _, tt := range []struct {
		query string
		skip  int
		want  []uint64
	}{
		{"", 0, []uint64{0, 1, 2}},
		{"skipzero=true", 0, []uint64{1, 2, 3}},
		{"idbits=16", 65534, []uint64{65534, 65535, 0, 1}},
		{"idbits=16&skipzero=true", 65533, []uint64{65534, 65535, 1, 2}},
		{"missevery=3", 0, []uint64{0, 1, 3, 4, 6, 7}},
		{"missevery=2", 0, []uint64{0, 2, 4}},
	} {
		c := running(t, "width=1&height=1&fps=0&"+tt.query)
		grabbed(t, c, tt.skip)
		if got := ids(grabbed(t, c, len(tt.want))); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.query, got, tt.want)
		}
	}
}

func TestIncomplete(t *testing.T) {
	c := running(t, "width=1&height=1&fps=0&incompleteevery=3")
	for i, g := range grabbed(t, c, 7) {
		if want := i == 2 || i == 5; g.Incomplete != want {
			t.Errorf("frame %d: incomplete %t", i, g.Incomplete)
		}
	}
}

func TestStallAndFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, free := range []string{"false", "true"} {
			c := running(t, "width=1&height=1&fps=100&stallat=3&free="+free)
			grabbed(t, c, 3)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if _, err := c.Grab(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the context's error", err)
			}
			cancel()

			c = running(t, "width=1&height=1&fps=100&failat=3&free="+free)
			<-time.After(time.Second) // the frames before the failure can still be had
			if got := ids(grabbed(t, c, 3)); !slices.Equal(got, []uint64{0, 1, 2}) {
				t.Errorf("ids %v", got)
			}
			for range 2 {
				if _, err := c.Grab(t.Context()); !errors.Is(err, camera.ErrFailed) {
					t.Errorf("%v, want ErrFailed", err)
				}
			}
		}
	})
}

func TestParseErrors(t *testing.T) {
	for query, text := range map[string]string{
		"widht=5":                      `unknown key "widht": want width, height,`,
		"width=0":                      "width=0: want a whole number from 1 to",
		"width=-5":                     "width=-5: want a whole number from 1",
		"height=2k":                    "height=2k: want a whole number",
		"height=1.5":                   "height=1.5: want a whole number",
		"dtype=float32":                "dtype=float32: want uint8 or uint16",
		"fps=20Hz":                     "fps=20Hz: want a number (frames per second, without a unit)",
		"fps=-1":                       "fps=-1: want a number",
		"fps=NaN":                      "fps=NaN: want a number",
		"fps=1e-9":                     "fps=1e-9: want 0 (as fast as it can) or at least 0.001",
		"pattern=stripes":              "pattern=stripes: want counter or hash or wave or noise",
		"pattern=wave&fps=0":           "fps=0: want more than 0 with pattern=wave",
		"free=true&fps=0":              "fps=0: want more than 0 with free=true",
		"free=yes":                     "free=yes: want true or false",
		"ring=4":                       "ring=4: want free=true",
		"free=true&ring=0":             "ring=0: want a whole number from 1",
		"mean=300&dtype=uint8":         "mean=300: want a number (counts, without a unit) from 0 to 255",
		"idbits=12":                    "idbits=12: want 16 or 32 or 64",
		"missevery=1":                  "missevery=1: want 0 or at least 2",
		"stallat=-1":                   "stallat=-1: want a whole number of at least 0",
		"seed=0xzz":                    "seed=0xzz: want a whole number",
		"width=65536&height=65536":     "more than 2147479552 bytes a frame",
		"width=9999999999999999999999": "want a whole number",
	} {
		s, err := camera.ParseSource("sim:?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(s)
		if !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want ErrSource with %q", query, err, text)
		}
	}
}

func TestGrabAllocatesNothing(t *testing.T) {
	for _, query := range []string{"fps=0", "fps=100000", "fps=100000&free=true"} {
		c := running(t, "width=64&height=64&pattern=hash&"+query)
		b := make([]byte, 2*64*64)
		ctx := t.Context()
		if n := testing.AllocsPerRun(200, func() {
			if _, err := c.Grab(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Retrieve(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %g allocations a frame", query, n)
		}
	}
}

func BenchmarkCamera(b *testing.B) {
	for _, edge := range []int{64, 512, 2048} {
		b.Run(strconv.Itoa(edge), func(b *testing.B) {
			c := running(b, fmt.Sprintf("width=%d&height=%d&pattern=hash&fps=0", edge, edge))
			buf := make([]byte, c.Info().Geometry.FrameBytes())
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := c.Grab(b.Context()); err != nil {
					b.Fatal(err)
				}
				if err := c.Retrieve(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package capture

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestOptionsOf: a run's description has all of its options; passwords come from the process's own source.
func TestOptionsOf(t *testing.T) {
	want, err := options("--source=video:rtsp://me:secret@cam/1?token=abc", "--duration=90s", "--budget=1GiB", "--on-full=drop", "--compress=zstd:3",
		"--pixel-size=650nm", "--meta=a=b c", "--meta=d=e,f", "--analyze-policy=lossless", "--require=writer=2,analyze", "--stall-after=3s",
		"--drain-timeout=2m", "--store=x.ome.zarr", "--force", "--shard-frames=7", "--latest-reserve=5")
	if err != nil {
		t.Fatal(err)
	}
	s := &session{c: New(Config{Camera: "cam0", ShmDir: dispatchtest.ShmDir(t)}), opts: want, cam: cameratest.NewFake(cameratest.Script{}).Camera()}
	s.info = s.cam.Info()
	s.opts.Budget = 1 << 20
	if err := s.prepare(frames.NewRunID()); err != nil {
		t.Fatal(err)
	}
	defer s.slab.Close()
	want.Budget = 1 << 20
	text, err := json.Marshal(s.spec)
	if err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "abc") {
		t.Fatalf("%v: the description is %s", err, text)
	}
	var spec run.Spec // as a slab has it
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	got, err := optionsOf(spec, config.Capture{Source: want.Source})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("options\n%s, want\n%s", a, b)
	}
	if got, err = optionsOf(spec, config.Capture{Source: "sim:"}); err != nil || got.Source != camera.Redact(want.Source) {
		t.Errorf("source %q, %v", got.Source, err)
	}
}

// TestAhead: how far an id is ahead of the one that is expected, over the wrap.
func TestAhead(t *testing.T) {
	for _, c := range []struct {
		id, want uint64
		info     camera.Info
		ahead    uint64
	}{
		{5, 5, camera.Info{IDBits: 16}, 0},
		{7, 5, camera.Info{IDBits: 64}, 2},
		{0, 65536, camera.Info{IDBits: 16}, 0},
		{3, 65536*2 - 1, camera.Info{IDBits: 16}, 4},
		{1, 65536, camera.Info{IDBits: 16, IDSkipsZero: true}, 0},
		{3, 65535, camera.Info{IDBits: 16, IDSkipsZero: true}, 3},
		{9, 1<<32 + 4, camera.Info{IDBits: 32}, 5},
	} {
		if got := ahead(c.id, c.want, c.info); got != c.ahead {
			t.Errorf("%d is %d ahead of %d (%d bits), want %d", c.id, got, c.want, c.info.IDBits, c.ahead)
		}
	}
}

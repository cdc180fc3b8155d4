package shm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/slab"
)

func world(t *testing.T, transport func() link.Transport) linktest.World {
	dir := t.TempDir()
	return linktest.World{
		Transport: transport,
		Announce: func(name string) func() {
			p, err := Announce(t.Context(), dir, "cam0", name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			return func() { p.Close() }
		},
		Alive: Alive(dir, "cam0"),
		Source: func() linktest.Source {
			return linktest.NewSlabSource(t, dir, Carrier{Dir: dir}, linktest.Spec(61, 41), 12)
		},
	}
}

// Over a transport inside this process, on synthetic time.
func TestConformance(t *testing.T) {
	linktest.Run(t, linktest.Setup{Bubble: true, New: func(t *testing.T) linktest.World {
		hub := linktest.NewHub()
		return world(t, func() link.Transport { return hub })
	}})
}

// Over a real broker, which is restarted in between.
func TestConformanceNATS(t *testing.T) {
	linktest.Run(t, linktest.Setup{New: func(t *testing.T) linktest.World {
		b := newBroker(t)
		w := world(t, func() link.Transport { return link.NATS(b.connect(t)) })
		w.Restart = b.restart
		return w
	}})
}

// A run that is over leaves nothing mapped behind.
func TestMappingGoes(t *testing.T) {
	dir := t.TempDir()
	src := linktest.NewSlabSource(t, dir, Carrier{Dir: dir}, linktest.Spec(64, 64), 2)
	mapped := func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(maps)) {
			if strings.Contains(line, src.Slab.Path()) && strings.Contains(line, " r--s ") {
				return true
			}
		}
		return false
	}
	m, err := src.Carrier().Open(t.Context(), src.Armed())
	if err != nil {
		t.Fatal(err)
	}
	if !mapped() {
		t.Fatal("the run is not mapped read-only")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if mapped() {
		t.Error("the mapping is still there")
	}
	bad := src.Armed()
	bad.Spec.ShardFrames++
	if _, err := src.Carrier().Open(t.Context(), bad); !errors.Is(err, link.ErrProtocol) {
		t.Errorf("another K: %v, want ErrProtocol", err)
	}
	bad = src.Armed()
	bad.Slab = "/dev/null"
	if _, err := src.Carrier().Open(t.Context(), bad); !errors.Is(err, slab.ErrForeign) {
		t.Errorf("no slab: %v, want ErrForeign", err)
	}
	if mapped() {
		t.Error("a run that was refused is mapped")
	}
}

package analysis_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMessagesAreGolden compares both messages, which are a published contract, with testdata/*.json.
func TestMessagesAreGolden(t *testing.T) {
	head := bus.Envelope{
		V: 1, Time: time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC), Camera: camera,
		Run: frames.RunID{0xab, 0xcd}, Host: "lab1", Process: "analyze-0",
	}
	temporal := analysis.NewTemporal(goldenSeries(t).Total(96), 1, 2)
	temporal.Envelope = head
	temporal.Type, temporal.N, temporal.Final, temporal.LagNS = analysis.TypeTemporal, 7, true, 1_500_000
	temporal.Coverage.Captured, temporal.Coverage.Seen = 96, 95
	golden(t, "temporal.json", temporal)

	h := frames.Header{Seq: 42, FrameID: 1042, DeviceNS: 84_000_000, HostNS: math.MaxInt64}
	spatial := analysis.NewSpatial(goldenFrame(t), h, 3, analysis.SpatialCoverage{Captured: 43, Seen: 40, Skipped: 1}, 0)
	spatial.Envelope = head
	spatial.Type = analysis.TypeSpatial
	golden(t, "spatial.json", spatial)
}

func goldenSeries(t *testing.T) *spectrum.Series {
	t.Helper()
	s, err := spectrum.NewSeries(spectrum.SeriesConfig{Values: 3, SegmentFrames: 16, MaxBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for seq := range uint64(96) {
		if seq == 50 {
			continue
		}
		at := float64(seq) / 100
		x := spectrum.Sample{Seq: seq, DeviceNS: int64(seq) * 10_000_000, Means: []float64{
			500 + 20*math.Sin(2*math.Pi*23*at) + r.Float64(), 400 + 5*math.Sin(2*math.Pi*31*at) + r.Float64(), 7,
		}}
		if _, err := s.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func goldenFrame(t *testing.T) *spectrum.SpatialSpectrum {
	t.Helper()
	g := frames.Geometry{Height: 12, Width: 16, Channels: 1, Dtype: frames.Uint16}
	s, err := spectrum.NewSpatial(spectrum.SpatialConfig{Geometry: g, Window: spectrum.WindowHann, Peaks: 2, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]byte, g.FrameBytes())
	wave{mean: 2000, as: 0.4, ky: 2, kx: 5}.draw(pixels, g, 0)
	if err := s.Load(pixels); err != nil {
		t.Fatal(err)
	}
	r, err := s.Compute()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func golden(t *testing.T, name string, m any) {
	t.Helper()
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s is not what it was:\n%s", path, b)
	}
}

func TestNumbersThatJSONHasNot(t *testing.T) {
	b, err := json.Marshal([]analysis.Num{analysis.Num(math.NaN()), analysis.Num(math.Inf(1)), 1.23456789e-7, 0, 37})
	if err != nil || string(b) != "[null,null,1.234568e-07,0,37]" {
		t.Errorf("%s, %v", b, err)
	}
}

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
	spatial := analysis.NewSpatial(goldenFrame(), h, 3, analysis.SpatialCoverage{Captured: 43, Seen: 40, Skipped: 1}, 0)
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

// goldenFrame is written out: what is rounding of a computed spectrum depends on the processor.
func goldenFrame() *spectrum.SpatialSpectrum {
	return &spectrum.SpatialSpectrum{
		Height: 12, Width: 16, Window: spectrum.WindowHann,
		Mean: 2000.00001, Variance: 320083.52, Total: 320083.47, Sharpness: 0.35924263,
		RadialStep: 0.0625,
		Radial: []float64{
			0, 0.0001458008, 0.0001867142, 0.00067882449, 444.4643, 3556.003, 7523.04, 1111.876, 0.0002169401,
			4.407557e-05, 4.9697811e-13, 3.510357e-14,
		},
		RadialCount: []int64{1, 4, 10, 16, 20, 20, 26, 40, 26, 16, 10, 3},
		Peaks: []spectrum.Peak{
			{KY: 2, KX: 5, FY: 2.0 / 12, FX: 5.0 / 16, Power: 142251.8, Amplitude: 800.0832},
			{KY: 2, KX: 1, FY: 2.0 / 12, FX: 1.0 / 16, Power: 0.003995309, Amplitude: 0.1340854},
		},
	}
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

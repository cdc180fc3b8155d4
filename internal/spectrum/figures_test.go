package spectrum_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// figures is testdata/figures.json, which testdata/figures.py makes with NumPy and SciPy.
type figures struct {
	Welch []struct {
		FS      float64   `json:"fs"`
		NPerSeg int       `json:"nperseg"`
		X       []float64 `json:"x"`
		F       []float64 `json:"f"`
		PSD     []float64 `json:"psd"`
	} `json:"welch"`
	Spatial []struct {
		Height    int             `json:"height"`
		Width     int             `json:"width"`
		Channels  int             `json:"channels"`
		Dtype     frames.Dtype    `json:"dtype"`
		Window    spectrum.Window `json:"window"`
		Pixels    []float64       `json:"pixels"`
		Mean      float64         `json:"mean"`
		Variance  float64         `json:"variance"`
		Power     []float64       `json:"power"`
		Radial    []float64       `json:"radial"`
		Count     []int64         `json:"count"`
		Sharpness float64         `json:"sharpness"`
	} `json:"spatial"`
}

func readFigures(t *testing.T) figures {
	t.Helper()
	b, err := os.ReadFile("testdata/figures.json")
	if err != nil {
		t.Fatal(err)
	}
	var f figures
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Welch) == 0 || len(f.Spatial) == 0 {
		t.Fatal("testdata/figures.json is empty")
	}
	return f
}

func TestWelchAgreesWithSciPy(t *testing.T) {
	for _, c := range readFigures(t).Welch {
		s, err := spectrum.NewSeries(spectrum.SeriesConfig{Values: 1, SegmentFrames: c.NPerSeg, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range c.X {
			at := int64(float64(i) * 1e9 / c.FS)
			if _, err := s.Add(spectrum.Sample{Seq: uint64(i), DeviceNS: at, Means: []float64{x}}); err != nil {
				t.Fatal(err)
			}
		}
		got := s.Total(uint64(len(c.X)))
		if len(got.Series) != 1 || len(got.Series[0].PSD) != len(c.PSD) {
			t.Fatalf("nperseg %d: %d series of other length than SciPy's %d", c.NPerSeg, len(got.Series), len(c.PSD))
		}
		if want := (len(c.X)-c.NPerSeg)/(c.NPerSeg/2) + 1; got.Segments != want || got.Broken != 0 {
			t.Errorf("nperseg %d: %d segments and %d broken, want %d and 0", c.NPerSeg, got.Segments, got.Broken, want)
		}
		for k := range c.PSD {
			// Bins that SciPy gives as rounding only (the mean that was taken off) have no relative precision.
			near(t, fmt.Sprintf("nperseg %d bin %d", c.NPerSeg, k), got.Series[0].PSD[k], c.PSD[k], 1e-5, max(c.PSD[k], 1e-12))
			near(t, "its frequency", float64(k)*got.BinHz, c.F[k], 1e-5, max(c.F[k], 1e-9))
		}
	}
}

func TestSpatialAgreesWithNumPy(t *testing.T) {
	for _, c := range readFigures(t).Spatial {
		g := frames.Geometry{Height: c.Height, Width: c.Width, Channels: c.Channels, Dtype: c.Dtype}
		name := fmt.Sprintf("%s %s", g, c.Window)
		got := spatial(t, g, c.Window, encode(g, c.Pixels))
		near(t, name+" mean", got.Mean, c.Mean, 1e-12, c.Mean)
		near(t, name+" variance", got.Variance, c.Variance, 1e-5, c.Variance)
		near(t, name+" total", got.Total, c.Variance, 1e-5, c.Variance)
		near(t, name+" sharpness", got.Sharpness, c.Sharpness, 1e-5, c.Sharpness)
		if !slices.Equal(got.RadialCount, c.Count) {
			t.Errorf("%s: radial counts %v, want %v", name, got.RadialCount, c.Count)
			continue
		}
		largest := slices.Max(c.Radial)
		for i := range c.Radial {
			// float32 planes: 1e-5 of the bin, and below 1e-4 of the largest bin 1e-5 of that part.
			near(t, fmt.Sprintf("%s radial %d", name, i), got.Radial[i], c.Radial[i], 1e-5, max(c.Radial[i], 1e-4*largest))
		}
		i := 1 + slices.Index(c.Power[1:], slices.Max(c.Power[1:]))
		half := c.Width/2 + 1
		ky, kx := i/half, i%half
		if 2*ky > c.Height {
			ky -= c.Height
		}
		if len(got.Peaks) == 0 {
			t.Errorf("%s: no peaks", name)
			continue
		}
		p := got.Peaks[0]
		if p.KY != ky || p.KX != kx {
			t.Errorf("%s: largest peak at (%d, %d), want (%d, %d)", name, p.KY, p.KX, ky, kx)
		}
		near(t, name+" peak power", p.Power, 2*c.Power[i], 1e-5, 2*c.Power[i])
	}
}

func spatial(t *testing.T, g frames.Geometry, w spectrum.Window, pixels []byte) *spectrum.SpatialSpectrum {
	t.Helper()
	s, err := spectrum.NewSpatial(spectrum.SpatialConfig{
		Geometry: g, Window: w, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(pixels); err != nil {
		t.Fatal(err)
	}
	return s.Compute()
}

package analysis_test

import (
	"bytes"
	"encoding/json"
	"image/jpeg"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

var ripple = wave{mean: 1000, at: 0.2, hz: 37, as: 0.3, ky: 5, kx: 12}

func spec500() run.Spec {
	return run.Spec{Geometry: frames.Geometry{Height: 64, Width: 64, Channels: 1, Dtype: frames.Uint16}, FPS: 500}
}

// record runs n frames through so many lossless members and returns the results.
func record(t *testing.T, members int, n uint64, lost func(seq uint64) bool) (analysis.Temporal, []*nats.Msg) {
	t.Helper()
	s := newStation(t, link.Lossless, members, spec500())
	for _, name := range names(members) {
		s.join(name, nil)
	}
	s.arm(64, 0)
	captured := uint64(0)
	for seq := range n {
		if lost(seq) {
			continue
		}
		s.capture(seq, int64(seq)*2_000_000, ripple)
		captured = seq + 1
	}
	s.drain()
	r, rest := s.final()
	if r.Coverage.Captured != captured || r.Grid != (analysis.Grid{Rows: 8, Cols: 8}) {
		t.Errorf("captured %d of %d, grid %+v", r.Coverage.Captured, captured, r.Grid)
	}
	if in := s.budget.Gauge().Used; in != 0 {
		t.Errorf("%d bytes are still held", in)
	}
	s.dispatcher.CloseRun()
	return r, rest
}

func none(uint64) bool { return false }

func TestOneAndThreeMembersAgreeExactly(t *testing.T) {
	one, rest := record(t, 1, 1100, none)
	if one.Coverage.Seen != 1100 || one.Coverage.Segments != 3 || one.Coverage.Broken != 0 || one.Window.Frames != 512 {
		t.Errorf("coverage %+v, segments of %d", one.Coverage, one.Window.Frames)
	}
	near(t, "dominant", float64(*one.Frame.DominantHz), 37, float64(one.BinHz)/2)
	near(t, "amplitude", float64(one.Frame.Amplitude), 200, 4)
	near(t, "rate", float64(one.RateHz), 500, 1e-9)
	if len(one.Tiles) != 64 || one.Tiles[9].Row != 1 || one.Tiles[9].Col != 1 {
		t.Errorf("%d tiles, %+v", len(one.Tiles), one.Tiles[9])
	}
	for _, tile := range one.Tiles {
		near(t, "tile's dominant", float64(*tile.DominantHz), 37, float64(one.BinHz)/2)
		near(t, "tile's amplitude", float64(tile.Amplitude), 200, 4)
	}
	checkImages(t, one, rest)

	three, _ := record(t, 3, 1100, none)
	for _, r := range []*analysis.Temporal{&one, &three} {
		r.Envelope, r.LagNS, r.N = bus.Envelope{}, 0, 0
	}
	if !reflect.DeepEqual(one, three) {
		t.Errorf("three members give %+v, one %+v", three.Coverage, one.Coverage)
	}
}

// checkImages checks the spatial results and the previews of the wave.
func checkImages(t *testing.T, of analysis.Temporal, results []*nats.Msg) {
	t.Helper()
	spectra, previews := 0, 0
	for _, m := range results {
		switch m.Subject {
		case base + ".spectrum.spatial":
			var r analysis.Spatial
			decode(t, m, "spectrum.spatial", of.Run, &r)
			if len(r.Peaks) == 0 || r.Peaks[0].KY != 5 || r.Peaks[0].KX != 12 {
				t.Errorf("frame %d: peaks %+v", r.Seq, r.Peaks)
			}
			near(t, "peak's amplitude", float64(r.Peaks[0].Amplitude), 300, 1)
			total := 0.0
			for i, p := range r.Radial.Power {
				total += float64(p) * float64(r.Radial.Count[i])
			}
			near(t, "power", total, float64(r.Variance), 1e-5*float64(r.Variance))
			spectra++
		case base + ".preview":
			img, err := jpeg.Decode(bytes.NewReader(m.Data))
			if err != nil {
				t.Fatal(err)
			}
			if img.Bounds().Dx() != 64 || m.Header.Get("Sluice-Width") != "64" || m.Header.Get("Sluice-Run") != of.Run.String() {
				t.Errorf("preview of %v with headers %v", img.Bounds(), m.Header)
			}
			previews++
		}
	}
	if spectra == 0 || previews == 0 {
		t.Errorf("%d spatial spectra and %d previews", spectra, previews)
	}
}

func TestHolesAreDeclared(t *testing.T) {
	r, _ := record(t, 2, 1100, func(seq uint64) bool { return seq == 300 || seq >= 500 && seq < 510 })
	if r.Coverage.Seen != 1089 || r.Coverage.Captured != 1100 {
		t.Errorf("coverage %+v", r.Coverage)
	}
	// The holes leave no segment of 512 whole but the one from 512 on.
	if r.Window.Frames != 512 || r.Coverage.Segments != 1 || r.Window.FirstSeq != 512 || r.Coverage.Broken != 2 {
		t.Errorf("window %+v, coverage %+v", r.Window, r.Coverage)
	}
	near(t, "dominant", float64(*r.Frame.DominantHz), 37, float64(r.BinHz)/2)
}

func TestResultsAreOneLineOfJSON(t *testing.T) {
	r, rest := record(t, 1, 40, none)
	if r.Window.Frames != 32 || r.Coverage.Segments != 1 {
		t.Errorf("40 frames: %d segments of %d", r.Coverage.Segments, r.Window.Frames)
	}
	for _, m := range rest {
		if m.Subject == base+".preview" {
			continue
		}
		if !json.Valid(m.Data) || bytes.ContainsRune(m.Data, '\n') {
			t.Errorf("%s: %s", m.Subject, m.Data)
		}
	}
}

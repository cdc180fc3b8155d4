package analysis

import (
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/spectrum"
)

// TypeTemporal is the type of Temporal messages.
const TypeTemporal bus.Type = "spectrum.temporal"

// Temporal is the message on .spectrum.temporal. See spectrum.TemporalSpectrum for what the figures are.
type Temporal struct {
	bus.Envelope
	// N counts the process's temporal results of the run from 1. A message that comes twice has the same.
	N uint64 `json:"n"`
	// Final marks the result of the whole run; the others are of the newest segments.
	Final    bool             `json:"final"`
	Units    TemporalUnits    `json:"units"`
	Window   TemporalWindow   `json:"window"`
	Coverage TemporalCoverage `json:"coverage"`
	// LagNS is the time from the arrival of the newest frame in the result to the making of the message.
	LagNS int64 `json:"lag_ns,string"`
	// RateHz is the measured frame rate, BinHz the distance of the PSD's values in frequency; both are 0, and
	// the spectra absent, while there is no whole segment.
	RateHz Num `json:"rate_hz"`
	BinHz  Num `json:"bin_hz"`
	// Jitter is the relative deviation of the frame intervals; Uneven says that it is too much to rely on.
	Jitter Num        `json:"jitter"`
	Uneven bool       `json:"uneven"`
	Grid   Grid       `json:"grid"`
	Frame  *FrameTone `json:"frame,omitempty"` // of the mean of the frame
	Tiles  []TileTone `json:"tiles,omitempty"` // in C order
}

// TemporalUnits names the units of a Temporal.
type TemporalUnits struct {
	Mean      string `json:"mean"`
	Amplitude string `json:"amplitude"`
	Frequency string `json:"frequency"`
	PSD       string `json:"psd"`
}

// TemporalWindow says which frames a Temporal is made of and how they were weighed.
type TemporalWindow struct {
	Kind    spectrum.Window `json:"kind"`
	Frames  int             `json:"frames"` // of a segment
	Overlap int             `json:"overlap"`
	Detrend string          `json:"detrend"`
	// FirstSeq and EndSeq bound the whole segments' frames, EndSeq not included. FirstNS and LastNS are the
	// device timestamps of the first and the last of them.
	FirstSeq uint64 `json:"first_seq"`
	EndSeq   uint64 `json:"end_seq"`
	FirstNS  int64  `json:"first_ns,string"`
	LastNS   int64  `json:"last_ns,string"`
}

// TemporalCoverage says how much of the run a Temporal has seen.
type TemporalCoverage struct {
	// Captured is the number of frames that the camera produced: exact in the final result, in the others one
	// more than the newest frame's seq.
	Captured uint64 `json:"captured"`
	Seen     uint64 `json:"seen"`
	Late     uint64 `json:"late"`
	// Segments is the number of whole segments that the figures are made of, Broken that of those left out
	// for a hole.
	Segments int `json:"segments"`
	Broken   int `json:"broken"`
}

// Grid is a number of tiles.
type Grid struct {
	Rows int `json:"rows"`
	Cols int `json:"cols"`
}

// Tone is a series' mean and strongest oscillation: null and 0 where it has none.
type Tone struct {
	Mean       Num  `json:"mean"`
	DominantHz *Num `json:"dominant_hz"`
	Amplitude  Num  `json:"amplitude"`
}

// FrameTone is the spectrum of the mean of the frame.
type FrameTone struct {
	Tone
	// PSD is the density at 0, BinHz, 2·BinHz …
	PSD []Num `json:"psd"`
}

// TileTone is the strongest oscillation of a tile.
type TileTone struct {
	Row int `json:"row"`
	Col int `json:"col"`
	Tone
}

// newTemporal makes the message of a spectrum, without what only the combiner knows.
func newTemporal(t *spectrum.TemporalSpectrum, rows, cols int) *Temporal {
	m := &Temporal{
		Units: TemporalUnits{Mean: "counts", Amplitude: "counts", Frequency: "Hz", PSD: "counts²/Hz"},
		Window: TemporalWindow{
			Kind: spectrum.WindowHann, Frames: t.SegmentFrames, Overlap: t.SegmentFrames / 2, Detrend: "constant",
			FirstSeq: t.FirstSeq, EndSeq: t.EndSeq, FirstNS: t.FirstNS, LastNS: t.LastNS,
		},
		Coverage: TemporalCoverage{Segments: t.Segments, Broken: t.Broken},
		RateHz:   Num(t.RateHz), BinHz: Num(t.BinHz), Jitter: Num(t.Jitter), Uneven: t.Uneven,
		Grid: Grid{Rows: rows, Cols: cols},
	}
	for i, s := range t.Series {
		tone := Tone{Mean: Num(s.Mean), Amplitude: Num(s.Dominant.Amplitude)}
		if s.Dominant.Found {
			hz := Num(s.Dominant.Hz)
			tone.DominantHz = &hz
		}
		if i == 0 {
			m.Frame = &FrameTone{Tone: tone, PSD: nums(s.PSD)}
			continue
		}
		m.Tiles = append(m.Tiles, TileTone{Row: (i - 1) / cols, Col: (i - 1) % cols, Tone: tone})
	}
	return m
}

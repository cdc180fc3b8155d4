package analysis

import (
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TypeSpatial is the type of Spatial messages.
const TypeSpatial bus.Type = "spectrum.spatial"

// Spatial is the message on .spectrum.spatial. See spectrum.SpatialSpectrum for what the figures are.
type Spatial struct {
	bus.Envelope
	// N counts the process's spatial results of the run from 1.
	N        uint64          `json:"n"`
	Seq      uint64          `json:"seq"`
	FrameID  uint64          `json:"frame_id"`
	DeviceNS int64           `json:"device_ns,string"`
	HostNS   int64           `json:"host_ns,string"`
	Units    SpatialUnits    `json:"units"`
	Window   SpatialWindow   `json:"window"`
	Coverage SpatialCoverage `json:"coverage"`
	// LagNS is the time from the frame's arrival to the making of the message.
	LagNS     int64  `json:"lag_ns,string"`
	Mean      Num    `json:"mean"`
	Variance  Num    `json:"variance"`
	Total     Num    `json:"total"`
	Sharpness Num    `json:"sharpness"`
	Radial    Radial `json:"radial"`
	Peaks     []Peak `json:"peaks"`
	// Interval sums up the spectra of all frames since the message before; it is there where every frame's is computed.
	Interval *SpatialInterval `json:"interval,omitempty"`
}

// SpatialInterval is what several spectra give together.
type SpatialInterval struct {
	Frames    uint64         `json:"frames"`
	FirstSeq  uint64         `json:"first_seq"`
	EndSeq    uint64         `json:"end_seq"` // not included
	Power     []Num          `json:"power"`   // the mean of the radial averages, of the same bins
	Sharpness SharpnessRange `json:"sharpness"`
}

// SharpnessRange is the sharpness of several frames.
type SharpnessRange struct {
	Mean    Num    `json:"mean"`
	Least   Num    `json:"least"`
	Most    Num    `json:"most"`
	MostSeq uint64 `json:"most_seq"` // the first frame with the most
}

// SpatialUnits names the units of a Spatial.
type SpatialUnits struct {
	Mean      string `json:"mean"`
	Amplitude string `json:"amplitude"`
	Frequency string `json:"frequency"` // of peaks, radial bins and sharpness
	Power     string `json:"power"`     // and variance
}

// SpatialWindow is the part of the frame that was transformed, and how it was weighed.
type SpatialWindow struct {
	Kind   spectrum.Window `json:"kind"`
	Y      int             `json:"y"`
	X      int             `json:"x"`
	Height int             `json:"height"`
	Width  int             `json:"width"`
}

// SpatialCoverage says how much of the run this member has seen.
type SpatialCoverage struct {
	// Captured is one more than the newest seq that the member was given, Seen the frames that it was given,
	// Skipped those among them that were reclaimed while it read.
	Captured uint64 `json:"captured"`
	Seen     uint64 `json:"seen"`
	Skipped  uint64 `json:"skipped"`
}

// Radial is the radially averaged power spectrum: Power[i] is the mean over the Count[i] frequencies nearest
// to i·Step.
type Radial struct {
	Step  Num     `json:"step"`
	Power []Num   `json:"power"`
	Count []int64 `json:"count"`
}

// Peak is a local maximum of the power spectrum.
type Peak struct {
	KY        int `json:"ky"`
	KX        int `json:"kx"`
	FY        Num `json:"fy"`
	FX        Num `json:"fx"`
	Power     Num `json:"power"`
	Amplitude Num `json:"amplitude"`
}

// newSpatial makes the message of a spectrum.
func newSpatial(s *spectrum.SpatialSpectrum, h frames.Header, n uint64, c SpatialCoverage, lagNS int64) *Spatial {
	m := &Spatial{
		N: n, Seq: h.Seq, FrameID: h.FrameID, DeviceNS: h.DeviceNS, HostNS: h.HostNS,
		Units:    SpatialUnits{Mean: "counts", Amplitude: "counts", Frequency: "cycles/pixel", Power: "counts²"},
		Window:   SpatialWindow{Kind: s.Window, Y: s.Y, X: s.X, Height: s.Height, Width: s.Width},
		Coverage: c, LagNS: lagNS,
		Mean: Num(s.Mean), Variance: Num(s.Variance), Total: Num(s.Total), Sharpness: Num(s.Sharpness),
		Radial: Radial{Step: Num(s.RadialStep), Power: nums(s.Radial), Count: s.RadialCount},
		Peaks:  make([]Peak, len(s.Peaks)),
	}
	for i, p := range s.Peaks {
		m.Peaks[i] = Peak{p.KY, p.KX, Num(p.FY), Num(p.FX), Num(p.Power), Num(p.Amplitude)}
	}
	return m
}

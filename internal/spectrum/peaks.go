package spectrum

import (
	"math"
	"slices"
)

// roundingPower is the part of a frame's variance below which a peak is taken for rounding.
const roundingPower = 1e-9

// Peak is a local maximum of the power spectrum. The spectrum of real samples is symmetric, so a peak and
// its mirror image (−KY, −KX) are one; KX is never negative, and KY is not where KX is 0 or Width/2.
type Peak struct {
	KY, KX int     // the bin: periods over the height and the width
	FY, FX float64 // cycles/pixel: KY/Height, KX/Width
	// Power is P of the bin and its mirror image together, counts².
	Power float64
	// Amplitude is 2|X|/Σw, counts: that of a wave a·cos(2π(FY·y + FX·x) + φ) whose frequency is the bin's.
	Amplitude float64
}

// search looks for local maxima in strip n, whose neighbours are there, and keeps the largest, largest first.
func (s *Spatial) search(n int) {
	floor := float32(0)
	if len(s.found) == s.cfg.Peaks {
		floor = s.least()
	}
	if s.most[n%3] <= floor {
		return
	}
	power := s.power[n%3]
	for i := above(power, floor); i < len(power); i += 1 + above(power[i+1:], floor) {
		ky, kx := i/stripCols, stripCols*n+i%stripCols
		if kx >= len(s.fx) || !s.isMaximum(ky, kx) {
			continue
		}
		s.insert(s.peak(ky, kx, float64(power[i])))
		if len(s.found) == s.cfg.Peaks {
			floor = s.least()
		}
	}
}

// peaks appends the peaks that are more than rounding.
func (s *Spatial) peaks(to []Peak, total float64) []Peak {
	for _, p := range s.found {
		if p.Power/s.stands(p) > total*roundingPower {
			to = append(to, p)
		}
	}
	return to
}

// stands is how many bins a peak stands for.
func (s *Spatial) stands(p Peak) float64 {
	if !s.doubled(p.KX) && (p.KY == 0 || 2*p.KY == s.region.height) {
		return 1
	}
	return 2
}

// least is |X|² below which no peak gets into a full list, whose powers are of one bin or of two.
func (s *Spatial) least() float32 { return float32(s.found[len(s.found)-1].Power / 2 / s.norm()) }

// insert keeps the list in order of falling power, and of equals by frequency, as long as it may be.
func (s *Spatial) insert(p Peak) {
	before := func(q Peak) bool {
		return p.Power > q.Power || p.Power == q.Power && s.place(p.KY, p.KX) < s.place(q.KY, q.KX)
	}
	i := len(s.found)
	for i > 0 && before(s.found[i-1]) {
		i--
	}
	s.found = slices.Insert(s.found, i, p)
	s.found = s.found[:min(len(s.found), s.cfg.Peaks)]
}

func (s *Spatial) peak(ky, kx int, squared float64) Peak {
	h, w := s.region.height, s.region.width
	p := Peak{KY: signed(ky, h), KX: kx, Power: squared * s.norm(), Amplitude: math.Sqrt(squared) / s.gain}
	p.FY, p.FX = float64(p.KY)/float64(h), float64(p.KX)/float64(w)
	p.Power *= s.stands(p)
	p.Amplitude *= s.stands(p)
	return p
}

// isMaximum says whether a bin is the one of the two that stand for a frequency, not zero, and no neighbour has
// more power and none that comes first has as much.
func (s *Spatial) isMaximum(ky, kx int) bool {
	h, w := s.region.height, s.region.width
	if kx > 1 && 2*kx+2 < w && ky > 0 && ky < h-1 {
		return s.isInnerMaximum(ky, kx)
	}
	own := s.place(ky, kx)
	if y, x := s.canonical(ky, kx); own == 0 || y != ky || x != kx {
		return false
	}
	p := s.at(ky, kx)
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			y, x := s.canonical(ky+dy, kx+dx)
			i := s.place(y, x)
			if i == own || i == 0 {
				continue
			}
			if q := s.at(y, x); q > p || q == p && i < own {
				return false
			}
		}
	}
	return true
}

// isInnerMaximum is isMaximum for a bin whose neighbours all stand for themselves.
func (s *Spatial) isInnerMaximum(ky, kx int) bool {
	p := s.at(ky, kx)
	for _, dx := range [3]int{0, -1, 1} {
		column := s.power[(kx+dx)/stripCols%3][(kx+dx)%stripCols:]
		above, beside, below := column[stripCols*(ky-1)], column[stripCols*ky], column[stripCols*(ky+1)]
		// Of equals the first in C order counts.
		if above >= p || below > p || dx < 0 && beside >= p || beside > p {
			return false
		}
	}
	return true
}

// at is |X|² in the strip at hand or one of the two before it.
func (s *Spatial) at(ky, kx int) float32 {
	return s.power[kx/stripCols%3][stripCols*ky+kx%stripCols]
}

// place is the place of a bin among all, in C order; ky may be signed.
func (s *Spatial) place(ky, kx int) int {
	h := s.region.height
	return (ky+h)%h*len(s.fx) + kx
}

// canonical is a bin or its mirror image, the same for both.
func (s *Spatial) canonical(ky, kx int) (y, x int) {
	h, w := s.region.height, s.region.width
	ky, kx = (ky+h)%h, (kx+w)%w
	if 2*kx > w || !s.doubled(kx) && 2*ky > h {
		ky, kx = (h-ky)%h, (w-kx)%w
	}
	return ky, kx
}

package spectrum

import "math"

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

// peaks are the largest local maxima among the eight neighbours, zero frequency left out, largest first.
func (s *Spatial) peaks(total float64) []Peak {
	floor := total * roundingPower / s.norm()
	found := make([]Peak, 0, s.cfg.Peaks+1)
	for n, strip := range s.strips {
		if float64(strip.most) <= floor {
			continue
		}
		power := strip.power
		for i := above(power, float32(floor)); i < len(power); i += 1 + above(power[i+1:], float32(floor)) {
			ky, kx := i/stripCols, stripCols*n+i%stripCols
			if kx >= len(s.fx) || !s.isMaximum(ky, kx) {
				continue
			}
			found = s.insert(found, s.peak(ky, kx, float64(power[i])))
			if len(found) == s.cfg.Peaks {
				floor = max(floor, s.least(found))
			}
		}
	}
	return found
}

// least is |X|² below which no peak gets into a full list, whose powers are of one bin or of two.
func (s *Spatial) least(found []Peak) float64 { return found[len(found)-1].Power / 2 / s.norm() }

// insert keeps the list in order of falling power, and of equals by frequency, as long as it may be.
func (s *Spatial) insert(ps []Peak, p Peak) []Peak {
	before := func(q Peak) bool {
		return p.Power > q.Power || p.Power == q.Power && s.place(p.KY, p.KX) < s.place(q.KY, q.KX)
	}
	i := len(ps)
	for i > 0 && before(ps[i-1]) {
		i--
	}
	ps = append(ps, Peak{})
	copy(ps[i+1:], ps[i:])
	ps[i] = p
	return ps[:min(len(ps), s.cfg.Peaks)]
}

func (s *Spatial) peak(ky, kx int, squared float64) Peak {
	h, w := s.region.height, s.region.width
	p := Peak{KY: signed(ky, h), KX: kx, Power: squared * s.norm(), Amplitude: math.Sqrt(squared) / s.gain}
	p.FY, p.FX = float64(p.KY)/float64(h), float64(p.KX)/float64(w)
	selfMirrored := !s.doubled(kx) && (ky == 0 || 2*ky == h)
	if !selfMirrored {
		p.Power *= 2
		p.Amplitude *= 2
	}
	return p
}

// isMaximum says whether a bin is the one of the two that stand for a frequency, not zero, and no neighbour has
// more power and none that comes first has as much.
func (s *Spatial) isMaximum(ky, kx int) bool {
	own := s.place(ky, kx)
	if y, x := s.canonical(ky, kx); own == 0 || y != ky || x != kx {
		return false
	}
	p := s.work.PowerAt(ky, kx)
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			y, x := s.canonical(ky+dy, kx+dx)
			i := s.place(y, x)
			if i == own || i == 0 {
				continue
			}
			if q := s.work.PowerAt(y, x); q > p || q == p && i < own {
				return false
			}
		}
	}
	return true
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

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
	half := len(s.fx)
	norm := s.norm()
	floor := total * roundingPower / norm
	found := make([]Peak, 0, s.cfg.Peaks+1)
	for ky := range s.fy {
		for kx := range half {
			i := ky*half + kx
			p := power(s.coeff[i])
			if p <= floor || i == 0 || i != s.canonical(ky, kx) || !s.isMaximum(i, ky, kx, p) {
				continue
			}
			found = insert(found, s.peak(ky, kx, p), s.cfg.Peaks)
			if len(found) == s.cfg.Peaks {
				floor = max(floor, s.least(found))
			}
		}
	}
	return found
}

// least is |X|² below which no peak gets into a full list, whose powers are of one bin or of two.
func (s *Spatial) least(found []Peak) float64 { return found[len(found)-1].Power / 2 / s.norm() }

// insert keeps the list in order of falling power, those found first before their equals, at most n long.
func insert(ps []Peak, p Peak, n int) []Peak {
	i := len(ps)
	for i > 0 && ps[i-1].Power < p.Power {
		i--
	}
	ps = append(ps, Peak{})
	copy(ps[i+1:], ps[i:])
	ps[i] = p
	return ps[:min(len(ps), n)]
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

// isMaximum says whether no neighbour has more power and none that comes first has as much.
func (s *Spatial) isMaximum(own, ky, kx int, p float64) bool {
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			i := s.canonical(ky+dy, kx+dx)
			if i == own || i == 0 {
				continue
			}
			if q := power(s.coeff[i]); q > p || q == p && i < own {
				return false
			}
		}
	}
	return true
}

// canonical is the place in coeff of a bin or of its mirror image, the same for both.
func (s *Spatial) canonical(ky, kx int) int {
	h, w := s.region.height, s.region.width
	ky, kx = (ky+h)%h, (kx+w)%w
	if 2*kx > w || !s.doubled(kx) && 2*ky > h {
		ky, kx = (h-ky)%h, (w-kx)%w
	}
	return ky*len(s.fx) + kx
}

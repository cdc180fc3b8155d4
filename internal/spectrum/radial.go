package spectrum

import "math"

// maxRadialBins bounds the radial average below the frequency ½; the corners of the plane reach √½.
const maxRadialBins = 1024

// countRadial decides the width of the radial bins, one frequency step of the longer axis but no finer than
// maxRadialBins allow, and counts their members.
func (s *Spatial) countRadial() {
	s.perStep = min(float64(max(s.region.height, s.region.width)), 2*maxRadialBins)
	top := math.Hypot(0.5, 0.5)
	counts := make([]int64, s.bin(top*top)+1)
	last := 0
	for _, fy := range s.fy {
		for kx, fx := range s.fx {
			i := s.bin(fy*fy + fx*fx)
			counts[i]++
			if s.doubled(kx) {
				counts[i]++
			}
			last = max(last, i)
		}
	}
	s.counts = counts[:last+1]
}

// bin is the radial bin of a squared frequency.
func (s *Spatial) bin(squared float64) int { return int(math.Sqrt(squared)*s.perStep + 0.5) }

// sumRadial fills in what one pass over the power spectrum gives.
func (s *Spatial) sumRadial(r *SpatialSpectrum) {
	r.RadialStep = 1 / s.perStep
	r.Radial = make([]float64, len(s.counts))
	r.RadialCount = append([]int64(nil), s.counts...)
	norm, half := s.norm(), len(s.fx)
	moment := 0.0
	for ky, fy := range s.fy {
		row := s.coeff[ky*half : (ky+1)*half]
		for kx, c := range row {
			p := power(c)
			if s.doubled(kx) {
				p *= 2
			}
			squared := fy*fy + s.fx[kx]*s.fx[kx]
			r.Radial[s.bin(squared)] += p
			moment += squared * p
		}
	}
	for i, p := range r.Radial {
		r.Total += p * norm
		if s.counts[i] > 0 {
			r.Radial[i] = p * norm / float64(s.counts[i])
		}
	}
	r.Sharpness = sharpness(moment*norm, r.Total)
}

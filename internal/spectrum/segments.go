package spectrum

// Recent is the spectrum of the newest whole segments, eight at most. While there is none of the full
// length, it is made of shorter segments: half as long, and so on down to MinSegment.
func (s *Series) Recent() *TemporalSpectrum { return s.remembered(recentSegments, recentSegments) }

// Total is the spectrum of all whole segments of a run of the given number of frames: call it when every
// sample was given. Where there is no whole segment of the full length, it is made of shorter ones among the
// frames that are remembered.
func (s *Series) Total(captured uint64) *TemporalSpectrum {
	n := uint64(2 * s.hop)
	for s.segment+n <= captured && s.segment < s.next {
		s.sumNext()
	}
	if s.total.segments == 0 {
		return s.remembered(s.capacity, s.capacity)
	}
	r := s.total.result()
	r.Broken = s.broken
	if s.segment+n <= captured {
		r.Broken += int((captured-n-s.segment)/uint64(s.hop)) + 1
	}
	return r
}

// remembered is the spectrum of the newest whole segments of the first length that has any: most of them at
// most, after most + spare tries at most.
func (s *Series) remembered(most, spare int) *TemporalSpectrum {
	var w *welch
	for _, w = range s.levels {
		w.reset()
		n := w.plan.Len()
		hop := uint64(n / 2)
		broken := 0
		if s.next >= uint64(n) {
			for seq := (s.next - uint64(n)) / hop * hop; seq >= s.base; seq -= hop {
				if !s.whole(seq, n) || !w.add(s, seq) {
					broken++
				}
				if seq == 0 || w.segments == most || broken == spare {
					break
				}
			}
		}
		if w.segments > 0 {
			r := w.result()
			r.Broken = broken
			return r
		}
	}
	return w.result()
}

// forget moves the memory's start up to base, a multiple of hop, after it has summed or given up every
// segment that begins before it.
func (s *Series) forget(base uint64) {
	hop := uint64(s.hop)
	for s.segment < base {
		if s.segment >= s.next {
			s.broken += int((base - s.segment) / hop)
			s.segment = base
			break
		}
		s.sumNext()
	}
	for n := 0; s.base < base; n++ {
		if n == len(s.filled) { // all of it was forgotten
			s.base = base
			break
		}
		b := s.block(s.base)
		s.filled[b] = 0
		clear(s.tags[b*s.hop : (b+1)*s.hop])
		s.base += hop
	}
}

// sumNext takes the next segment, if it is whole.
func (s *Series) sumNext() {
	if !s.whole(s.segment, 2*s.hop) || !s.total.add(s, s.segment) {
		s.broken++
	}
	s.segment += uint64(s.hop)
}

// whole says whether all n frames from seq on are remembered.
func (s *Series) whole(seq uint64, n int) bool {
	if seq < s.base || seq+uint64(n) > s.next {
		return false
	}
	if n == 2*s.hop && seq%uint64(s.hop) == 0 {
		return s.filled[s.block(seq)] == s.hop && s.filled[s.block(seq+uint64(s.hop))] == s.hop
	}
	for i := range uint64(n) {
		if s.tags[s.slot(seq+i)] != seq+i+1 {
			return false
		}
	}
	return true
}

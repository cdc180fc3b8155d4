package entropy

import "encoding/binary"

// group is how many bytes are coded between two writes: their bits fit into a word together with seven left over.
const group = 5

// stream is one of a block's four. Its bytes are coded from the last to the first, its bits are written from the lowest.
type stream struct {
	src []byte // not coded yet
	dst []byte // where the next bits go, with slack behind
	acc uint64 // bits that are not written yet, at the top
	n   uint64 // how many these are
}

// put appends one code.
func (s *stream) put(e entry) {
	s.acc = s.acc>>(e&63) | uint64(e&^0xff)
	s.n += uint64(e & 0xff)
}

// flush writes all whole bytes. There are at most seven bits and a group's.
func (s *stream) flush() {
	binary.LittleEndian.PutUint64(s.dst, s.acc>>(-s.n&63))
	s.dst = s.dst[s.n>>3:]
	s.n &= 7
}

// upTo codes the bytes behind the first n.
func (s *stream) upTo(n int, code *[256]entry) {
	for i := len(s.src) - 1; i >= n; i-- {
		s.put(code[s.src[i]])
		s.flush()
	}
	s.src = s.src[:n]
}

// end writes the mark of the end, a bit that is set, and what is left.
func (s *stream) end() {
	s.put(1<<63 | 1)
	for n := s.acc >> (-s.n & 63); n > 0; n >>= 8 {
		s.dst[0] = byte(n)
		s.dst = s.dst[1:]
	}
}

// streams codes the quarters of src into dst from at on, where they take size bytes each. Behind them there is slack.
func (c *coder) streams(dst []byte, at int, src []byte, quarter int, size [4]int) {
	var all [4]stream
	var from [4]int
	for i := range all {
		from[i] = at
		all[i] = stream{src: src[i*quarter : min((i+1)*quarter, len(src))], dst: dst[at:]}
		at += size[i]
	}
	whole := len(all[3].src) / group * group // the last quarter is the shortest
	pair := func(a, b *stream) {
		a.upTo(whole, &c.table.code)
		b.upTo(whole, &c.table.code)
		codePair(a, b, &c.table.code)
		a.end()
		b.end()
	}
	// A stream that comes to its end writes over the beginning of the next one: that begins later, or is mended. Each has
	// at least eight bytes, so no other one is touched.
	pair(&all[0], &all[2])
	var begin [slack]byte
	copy(begin[:], dst[from[2]:])
	pair(&all[1], &all[3])
	copy(dst[from[2]:], begin[:])
}

// codeGroups codes the bytes of two streams in plain Go.
func codeGroups(a, b *stream, code *[256]entry) {
	for n := len(a.src); n > 0; n -= group {
		x, y := a.src[n-group:n], b.src[n-group:n]
		for i := group - 1; i >= 0; i-- {
			a.put(code[x[i]])
			b.put(code[y[i]])
		}
		a.flush()
		b.flush()
	}
	a.src, b.src = nil, nil
}

// count counts the bytes of each stream.
func (c *coder) count(src []byte, quarter int) {
	c.counts = [4][256]uint32{}
	a, b, d, e := src[:quarter], src[quarter:2*quarter], src[2*quarter:3*quarter], src[3*quarter:]
	n := len(e) &^ 7
	for i := 0; i < n; i += 8 {
		count8(&c.counts[0], a[i:])
		count8(&c.counts[1], b[i:])
		count8(&c.counts[2], d[i:])
		count8(&c.counts[3], e[i:])
	}
	for i, part := range [][]byte{a, b, d, e} {
		for _, v := range part[n:] {
			c.counts[i][v]++
		}
	}
}

// count8 counts the first eight bytes.
func count8(counts *[256]uint32, b []byte) {
	w := binary.LittleEndian.Uint64(b)
	counts[byte(w)]++
	counts[byte(w>>8)]++
	counts[byte(w>>16)]++
	counts[byte(w>>24)]++
	counts[byte(w>>32)]++
	counts[byte(w>>40)]++
	counts[byte(w>>48)]++
	counts[byte(w>>56)]++
}

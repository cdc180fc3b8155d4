package entropy

import (
	"slices"

	"github.com/klauspost/compress/fse"
)

// maxBits is the longest code that the format allows.
const maxBits = 11

// table is a Huffman code.
type table struct {
	// code has each byte's code, and its length.
	code [256]entry
	bits [256]uint8 // the lengths, 0 for bytes that do not occur
	last int        // the greatest byte that occurs
	log  int        // the longest code's length

	keys    []uint32 // counts<<8 | byte, ascending
	work    []int32
	weights [256]byte
	fse     fse.Scratch
}

// entry is a code as it is appended: its bits at the top, their number in the lowest byte.
type entry uint64

// build makes the code for bytes that occur so often, in four streams together. It reports whether there are at least two.
func (t *table) build(counts *[4][256]uint32) bool {
	t.keys = t.keys[:0]
	for s := range 256 {
		if n := counts[0][s] + counts[1][s] + counts[2][s] + counts[3][s]; n > 0 {
			t.keys = append(t.keys, n<<8|uint32(s))
			t.last = s
		}
	}
	if len(t.keys) < 2 {
		return false
	}
	slices.Sort(t.keys)
	t.work = t.work[:0]
	for _, k := range t.keys {
		t.work = append(t.work, int32(k>>8))
	}
	minimumRedundancy(t.work)
	limit(t.work)
	t.log = 0
	t.bits = [256]uint8{}
	for i, k := range t.keys {
		t.bits[k&0xff] = uint8(t.work[i])
		t.log = max(t.log, int(t.work[i]))
	}
	t.assign()
	return true
}

// assign gives each byte its code: those of one length follow each other, the longest first (RFC 8878, 4.2.1.3).
func (t *table) assign() {
	var many, next [maxBits + 2]uint64
	for _, n := range t.bits[:t.last+1] {
		many[n]++
	}
	for n := t.log; n > 0; n-- {
		next[n-1] = (next[n] + many[n]) >> 1
	}
	for s, n := range t.bits[:t.last+1] {
		if n > 0 {
			t.code[s] = entry(next[n]<<(64-n) | uint64(n))
			next[n]++
		}
	}
}

// streamBytes is the length of a stream with these bytes, the mark of its end included.
func (t *table) streamBytes(counts *[256]uint32) int {
	bits := 1
	for s, n := range t.bits[:t.last+1] {
		bits += int(n) * int(counts[s])
	}
	return (bits + 7) / 8
}

// describe appends the weights of all bytes but the greatest, whose own follows from theirs (RFC 8878, 4.2.1).
func (t *table) describe(dst []byte) ([]byte, bool) {
	const direct, fseLog = 128, 6
	w := t.weights[:t.last]
	for s := range w {
		w[s] = 0
		if n := t.bits[s]; n > 0 {
			w[s] = byte(t.log) + 1 - n
		}
	}
	if len(w) <= direct {
		dst = append(dst, byte(direct-1+len(w)))
		for i := 0; i < len(w); i += 2 {
			b := w[i] << 4
			if i+1 < len(w) {
				b |= w[i+1]
			}
			dst = append(dst, b)
		}
		return dst, true
	}
	t.fse.TableLog = fseLog
	b, err := fse.Compress(w, &t.fse)
	if err != nil || len(b) >= direct { // all are alike, as where nothing can be gained
		return dst, false
	}
	return append(append(dst, byte(len(b))), b...), true
}

// minimumRedundancy turns counts, ascending, into the lengths of their codes, descending. The method is A. Moffat and
// J. Katajainen, In-place calculation of minimum-redundancy codes, 1995. There are at least two.
func minimumRedundancy(a []int32) {
	n := len(a)
	a[0] += a[1]
	root, leaf := 0, 2
	for next := 1; next < n-1; next++ {
		if leaf >= n || a[root] < a[leaf] {
			a[next], a[root] = a[root], int32(next)
			root++
		} else {
			a[next] = a[leaf]
			leaf++
		}
		if leaf >= n || root < next && a[root] < a[leaf] {
			a[next], a[root] = a[next]+a[root], int32(next)
			root++
		} else {
			a[next] += a[leaf]
			leaf++
		}
	}
	a[n-2] = 0
	for next := n - 3; next >= 0; next-- {
		a[next] = a[a[next]] + 1
	}
	free, used, depth := 1, 0, int32(0)
	root = n - 2
	for next := n - 1; free > 0; depth++ {
		for root >= 0 && a[root] == depth {
			used++
			root--
		}
		for ; free > used; free-- {
			a[next] = depth
			next--
		}
		free, used = 2*used, 0
	}
}

// limit makes lengths, descending, of maxBits at most, and keeps the code complete.
func limit(length []int32) {
	over := -(1 << maxBits) // how much room the codes take, beyond all that there is
	for i, n := range length {
		length[i] = min(n, maxBits)
		over += 1 << (maxBits - length[i])
	}
	for over > 0 { // the rarest that can still be longer
		i := slices.IndexFunc(length, func(n int32) bool { return n < maxBits })
		length[i]++
		over -= 1 << (maxBits - length[i])
	}
	for i := len(length) - 1; over < 0; i-- { // the most frequent for which there is room
		if gain := 1 << (maxBits - length[i]); gain <= -over {
			length[i]--
			over += gain
			i++
		}
	}
}

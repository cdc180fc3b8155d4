package entropy

// Searcher makes zstd frames with a search for repetitions.
type Searcher interface {
	EncodeAll(src, dst []byte) []byte
}

// gain is how much smaller a search must make bytes to be worth its time: by 1 / gain.
const gain = 10

// Pays reports whether a search for repetitions pays: whether it makes a piece from the middle of b a tenth smaller than
// entropy coding. What is tried lies behind dst for that time. total is the number of bytes that the answer is for: the
// piece grows with it.
func (e *Encoder) Pays(s Searcher, b, dst []byte, total int) bool {
	const least, most, part = 4 << 10, 32 << 10, 32
	n := min(len(b), max(least, min(total/part, most)))
	piece := b[(len(b)-n)/2:][:n]
	coded := len(e.EncodeAll(piece, dst)) - len(dst)
	searched := len(s.EncodeAll(piece, dst)) - len(dst)
	return searched < coded-coded/gain
}

package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/nontemporal"
)

// Pattern makes pixels. Its methods may be called concurrently.
type Pattern interface {
	// Fill writes the pixels of frame seq into dst, which has the bytes of one frame. It allocates nothing.
	Fill(dst []byte, seq uint64)
}

// checksumming is a Pattern that makes a frame's checksum on the way.
type checksumming interface {
	// fillChecksum is Fill, and returns the CRC-32C of dst.
	fillChecksum(dst []byte, seq uint64) uint32
}

// NewPattern makes the pattern of c, which must be one that [Parse] could have returned.
func NewPattern(c Config) (Pattern, error) {
	if err := c.Geometry().Validate(); err != nil {
		return nil, fmt.Errorf("%w sim: %w", camera.ErrSource, err)
	}
	switch c.Pattern {
	case Counter:
		return newCounter(c.Dtype.Size()), nil
	case Hash:
		return hash{c.Seed}, nil
	case Wave:
		return newWave(c), nil
	case Noise:
		return newNoise(c), nil
	}
	return nil, fmt.Errorf("%w sim: unknown pattern %q", camera.ErrSource, c.Pattern)
}

// Expected returns the pattern that the sim: source of a URI produces, and its frames' size in bytes, for those who
// check what became of the frames.
func Expected(uri string) (p Pattern, frameBytes int, err error) {
	s, err := camera.ParseSource(uri)
	if err != nil {
		return nil, 0, err
	}
	if s.Scheme != camera.SchemeSim {
		return nil, 0, fmt.Errorf("%w %s: only sim: sources have a pattern", camera.ErrSource, s.Scheme)
	}
	c, err := Parse(s)
	if err != nil {
		return nil, 0, err
	}
	p, err = NewPattern(c)
	return p, c.Geometry().FrameBytes(), err
}

const (
	// counterTable is the size of the counter's table in bytes: the second level of the processor's cache holds it.
	counterTable = 256 << 10
	// pastBytes is the size of a frame from which on it is written past the cache. A smaller one may be read before the
	// cache has lost it.
	pastBytes = 128 << 10
)

// counter holds the pattern as bytes, whole periods of it. A frame is the table read from seq·131 on, again and again.
type counter struct {
	table  []byte
	sample int
}

func newCounter(sample int) counter {
	const period = 1 << 16 // samples
	c := counter{make([]byte, counterTable), sample}
	for i := range period {
		put(c.table, i, sample, float64(i%(1<<(8*sample))))
	}
	for n := period * sample; n < len(c.table); n *= 2 {
		copy(c.table[n:], c.table[:n])
	}
	return c
}

// Fill implements [Pattern].
func (c counter) Fill(dst []byte, seq uint64) {
	past := len(dst) >= pastBytes
	c.pieces(dst, seq, func(to, from []byte) {
		if past {
			nontemporal.Copy(to, from)
		} else {
			copy(to, from)
		}
	})
}

// fillChecksum implements checksumming.
func (c counter) fillChecksum(dst []byte, seq uint64) (crc uint32) {
	past := len(dst) >= pastBytes
	c.pieces(dst, seq, func(to, from []byte) {
		if past {
			crc = crc32c.Copy(crc, to, from)
		} else {
			crc = crc32c.Update(crc, from[:copy(to, from)])
		}
	})
	return crc
}

// pieces calls f for each piece of the frame with the piece of the table that belongs there.
func (c counter) pieces(dst []byte, seq uint64, f func(to, from []byte)) {
	for from := int(uint16(seq*131)) * c.sample; len(dst) > 0; from = 0 {
		n := min(len(dst), len(c.table)-from)
		f(dst[:n], c.table[from:from+n])
		dst = dst[n:]
	}
}

const golden = 0x9E3779B97F4A7C15

func splitmix64(z uint64) uint64 {
	z += golden
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

type hash struct{ seed uint64 }

// Fill implements [Pattern].
func (h hash) Fill(dst []byte, seq uint64) {
	const step = 0xD1B54A32D192ED03
	key := h.seed ^ seq*golden
	w := uint64(0) // the word's index times step
	// Four words a turn: their multiplications don't wait for one another.
	for len(dst) >= 32 {
		d := dst[:32:32]
		binary.LittleEndian.PutUint64(d, splitmix64(key^w))
		binary.LittleEndian.PutUint64(d[8:], splitmix64(key^(w+step)))
		binary.LittleEndian.PutUint64(d[16:], splitmix64(key^(w+2*step&(1<<64-1))))
		binary.LittleEndian.PutUint64(d[24:], splitmix64(key^(w+3*step&(1<<64-1))))
		w += 4 * step & (1<<64 - 1)
		dst = dst[32:]
	}
	for ; len(dst) > 0; w += step {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], splitmix64(key^w))
		dst = dst[copy(dst, b[:]):]
	}
}

package analysis

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Batch is the means of some frames on their way from a member to the combiner. It is idempotent: the combiner
// knows a frame by its seq.
//
// On the wire, little-endian:
//
//	 0  u32  "SLP1"
//	 4  u8   flags: 1 the member is done
//	 5  u8   length of the member's name
//	 6  u8   rows of the grid of tiles
//	 7  u8   columns
//	 8  16   run
//	24  u64  frames captured in the run; 0 unless the member is done
//	32  32   the member's name, then zeros
//	64       per frame: u64 seq, i64 device time in ns, i64 host time in ns, f64 mean of the frame, then an f64
//	         for the mean of each tile in C order
//
// A batch without frames announces the member. The answer is one byte, 0 for merged, 1 for not combining this
// run, 2 for refused, followed by a text.
type Batch struct {
	Run        frames.RunID
	Member     string
	Rows, Cols int
	// Done says that the member has no more frames, Captured how many the camera produced.
	Done     bool
	Captured uint64
	Samples  []spectrum.Sample
}

const (
	batchMagic  = 0x31504c53 // "SLP1"
	batchHeader = 64
	flagDone    = 1
	maxMember   = 32
	maxMean     = 1<<16 - 1
	maxSeq      = 1 << 62
)

// The first byte of an answer.
const (
	answerMerged  = 0
	answerNotHere = 1
	answerRefused = 2
)

// recordSize is the encoded size of one frame's means.
func recordSize(rows, cols int) int { return 8 * (3 + 1 + rows*cols) }

// AppendBatch appends the encoding of b to dst.
func AppendBatch(dst []byte, b Batch) []byte {
	dst = appendBatchHeader(dst, b)
	for _, s := range b.Samples {
		dst = appendSample(dst, s)
	}
	return dst
}

func appendBatchHeader(dst []byte, b Batch) []byte {
	flags := byte(0)
	if b.Done {
		flags = flagDone
	}
	dst = binary.LittleEndian.AppendUint32(dst, batchMagic)
	dst = append(dst, flags, byte(len(b.Member)), byte(b.Rows), byte(b.Cols))
	dst = append(dst, b.Run[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, b.Captured)
	var name [maxMember]byte
	copy(name[:], b.Member)
	return append(dst, name[:]...)
}

func appendSample(dst []byte, s spectrum.Sample) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.DeviceNS))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.HostNS))
	for _, m := range s.Means {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(m))
	}
	return dst
}

// DecodeBatch decodes and checks a batch. The error wraps ErrBatch.
func DecodeBatch(p []byte) (Batch, error) {
	if len(p) < batchHeader {
		return Batch{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrBatch, len(p), batchHeader)
	}
	if m := binary.LittleEndian.Uint32(p); m != batchMagic {
		return Batch{}, fmt.Errorf("%w: it begins with %#08x", ErrBatch, m)
	}
	b := Batch{Rows: int(p[6]), Cols: int(p[7]), Done: p[4] == flagDone, Captured: binary.LittleEndian.Uint64(p[24:])}
	copy(b.Run[:], p[8:24])
	name := p[32:batchHeader]
	if n := int(p[5]); n <= maxMember {
		b.Member, name = string(name[:n]), name[n:]
	}
	if err := frames.ValidCamera(b.Member); err != nil {
		return Batch{}, fmt.Errorf("%w: the member's name: %w", ErrBatch, err)
	}
	for _, c := range name {
		if c != 0 {
			return Batch{}, fmt.Errorf("%w: something follows the member's name", ErrBatch)
		}
	}
	if p[4]&^flagDone != 0 || b.Captured > maxSeq || !b.Done && b.Captured != 0 {
		return Batch{}, fmt.Errorf("%w: flags %d, %d frames captured", ErrBatch, p[4], b.Captured)
	}
	if b.Rows < 1 || b.Rows > spectrum.MaxGrid || b.Cols < 1 || b.Cols > spectrum.MaxGrid {
		return Batch{}, fmt.Errorf("%w: a grid of %d x %d tiles", ErrBatch, b.Rows, b.Cols)
	}
	return b, b.decodeSamples(p[batchHeader:])
}

func (b *Batch) decodeSamples(p []byte) error {
	size := recordSize(b.Rows, b.Cols)
	if len(p)%size != 0 {
		return fmt.Errorf("%w: %d bytes are not records of %d", ErrBatch, len(p), size)
	}
	n, values := len(p)/size, 1+b.Rows*b.Cols
	if n == 0 {
		return nil
	}
	b.Samples = make([]spectrum.Sample, 0, n)
	means := make([]float64, n*values)
	for ; len(p) > 0; p, means = p[size:], means[values:] {
		s := spectrum.Sample{
			Seq:      binary.LittleEndian.Uint64(p),
			DeviceNS: int64(binary.LittleEndian.Uint64(p[8:])),
			HostNS:   int64(binary.LittleEndian.Uint64(p[16:])),
			Means:    means[:values:values],
		}
		for v := range s.Means {
			m := math.Float64frombits(binary.LittleEndian.Uint64(p[24+8*v:]))
			if !(m >= 0 && m <= maxMean) {
				return fmt.Errorf("%w: a mean of %v in frame %d", ErrBatch, m, s.Seq)
			}
			s.Means[v] = m
		}
		if s.Seq >= maxSeq {
			return fmt.Errorf("%w: frame %d", ErrBatch, s.Seq)
		}
		b.Samples = append(b.Samples, s)
	}
	return nil
}

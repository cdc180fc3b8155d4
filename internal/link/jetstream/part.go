package jetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// partHeader is the header of a message that says which part of which frame its payload is.
	partHeader = "Sluice-Part"
	// maxPart bounds a message, where the broker takes more.
	maxPart = 1 << 20
	// headerRoom is what a message's headers take at most.
	headerRoom = 256
	// storedRoom is what a stream counts for a message besides its headers, its subject and its payload.
	storedRoom = 64
	// maxParts bounds the parts of a frame.
	maxParts = 1 << 20
)

// key names a frame in a slot: the same seq comes again under another generation.
type key struct{ seq, generation uint64 }

func keyOf(o frames.Offer) key { return key{o.Seq, o.Generation} }

// part is one part of a frame's pixels. All but the last of a frame are of one length.
type part struct {
	run frames.RunID
	key
	index, count int    // a count of 0 says that the frame is not there any more
	crc          uint32 // crc32c of the payload
}

// String is the header's value: run, seq, generation, index and count in decimal, checksum in hexadecimal.
func (p part) String() string {
	b := make([]byte, 0, 96)
	b = append(b, p.run.String()...)
	for _, n := range []uint64{p.seq, p.generation, uint64(p.index), uint64(p.count)} {
		b = strconv.AppendUint(append(b, ' '), n, 10)
	}
	return string(strconv.AppendUint(append(b, ' '), uint64(p.crc), 16))
}

// parsePart reads a header's value. The error wraps ErrPart.
func parsePart(s string) (part, error) {
	words := strings.Split(s, " ")
	if len(words) != 6 {
		return part{}, fmt.Errorf("%w: its header has %d words", ErrPart, len(words))
	}
	var p part
	if err := p.run.UnmarshalText([]byte(words[0])); err != nil {
		return part{}, fmt.Errorf("%w: %w", ErrPart, err)
	}
	var n [4]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(words[1+i], 10, 64); err != nil {
			return part{}, fmt.Errorf("%w: %w", ErrPart, err)
		}
	}
	crc, err := strconv.ParseUint(words[5], 16, 32)
	if err != nil {
		return part{}, fmt.Errorf("%w: %w", ErrPart, err)
	}
	if n[3] > maxParts || n[2] >= max(n[3], 1) {
		return part{}, fmt.Errorf("%w: number %d of %d", ErrPart, n[2], n[3])
	}
	p.key = key{n[0], n[1]}
	p.index, p.count, p.crc = int(n[2]), int(n[3]), uint32(crc)
	return p, nil
}

// cut is how frames are cut into messages.
type cut struct {
	frame, size, count int // bytes of a frame and of a part, parts of a frame
}

// newCut cuts frames for a broker that takes payload bytes in a message.
func newCut(frame int, payload int64) (cut, error) {
	most := int(min(payload, maxPart)) - headerRoom
	if most < 1 {
		return cut{}, fmt.Errorf("%w: it takes messages of %d bytes", ErrUnavailable, payload)
	}
	count := (frame + most - 1) / most
	if count > maxParts {
		return cut{}, fmt.Errorf("%w: frames of %d bytes in messages of %d", ErrUnavailable, frame, payload)
	}
	size := (frame + count - 1) / count // about equal ones
	return cut{frame: frame, size: size, count: (frame + size - 1) / size}, nil
}

// batch is how many parts are asked for at a time.
func (c cut) batch() int { return min(max(pullBytes/c.size, 2), pullBatch) }

// part is the i-th part of a frame.
func (c cut) part(pixels []byte, i int) []byte {
	return pixels[i*c.size : min((i+1)*c.size, c.frame)]
}

// cost is what a stream counts for a frame at most.
func (c cut) cost(subject string) int64 {
	return int64(c.frame) + int64(c.count)*int64(headerRoom+storedRoom+len(subject))
}

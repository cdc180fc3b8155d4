package entropy

import (
	"bytes"
	"encoding/binary"
)

const (
	// windowBytes is how long a repetition must be to be seen: noise of few values repeats shorter ones by chance.
	windowBytes = 32
	// sample is how many windows, each a byte further than the last, are looked for. Where they come again, at whatever
	// distance, one of them begins at a multiple of sample.
	sample = 512
	// enough is the part of the bytes that must repeat others: 1 / enough.
	enough = 16
)

// Repetitive reports whether enough of b repeats what comes right before, or what lies in its middle: then a search for
// repetitions makes it smaller than entropy coding can. It looks at some places only.
func Repetitive(b []byte) bool {
	const slots = 4 * sample
	if len(b) < 2*sample+windowBytes {
		return true
	}
	var seen [slots]uint16 // where a window with this hash begins in the middle, from 1
	middle := len(b)/2 - sample/2
	for i := range sample {
		seen[hash(b[middle+i:])%slots] = uint16(i + 1)
	}
	repeated := 0
	for at := 0; at+2*windowBytes <= len(b); {
		w := b[at:]
		n := 0
		if i := seen[hash(w)%slots]; i > 0 && middle+int(i)-1 != at {
			n = alike(w, b[middle+int(i)-1:])
		}
		n = max(n, alike(w, w[1:]), alike(w, w[2:])) // a pixel again and again
		repeated += n
		at += (n + sample) / sample * sample
	}
	return repeated*enough >= len(b)
}

// hash mixes the first eight bytes.
func hash(b []byte) uint64 { return binary.LittleEndian.Uint64(b) * 0x9E3779B97F4A7C15 >> 40 }

// alike is how many windows' bytes are the same in a and b, from the first.
func alike(a, b []byte) int {
	if binary.LittleEndian.Uint64(a) != binary.LittleEndian.Uint64(b) { // as nearly always
		return 0
	}
	n, most := 0, min(len(a), len(b))
	for _, step := range []int{128 * windowBytes, windowBytes} {
		for n+step <= most && bytes.Equal(a[n:n+step], b[n:n+step]) {
			n += step
		}
	}
	return n
}

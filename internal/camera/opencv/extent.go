package opencv

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// checkExtent holds a container's own account of its length against the file's size. It knows RIFF (AVI), ISO base
// media (MP4, MOV) and Matroska (MKV, WebM); of others it says nothing. The error says what is missing.
func checkExtent(f io.ReaderAt, size int64) error {
	var head [12]byte
	if n, _ := f.ReadAt(head[:], 0); n < len(head) {
		return nil
	}
	switch {
	case string(head[:4]) == "RIFF":
		return checkRIFF(f, size)
	case string(head[4:8]) == "ftyp":
		return checkBoxes(f, size)
	case string(head[:4]) == "\x1a\x45\xdf\xa3":
		return checkMatroska(f, size)
	}
	return nil
}

func truncated(size, want int64) error {
	return fmt.Errorf("truncated: it has %d of the %d bytes that its headers tell of", size, want)
}

// checkRIFF walks the RIFF chunks: an AVI file has one, or several by the OpenDML extensions. What
// follows that is no RIFF chunk is padding.
func checkRIFF(f io.ReaderAt, size int64) error {
	for at := int64(0); at < size; {
		var head [8]byte
		if _, err := f.ReadAt(head[:], at); err != nil || string(head[:4]) != "RIFF" {
			return nil
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		if n == 0 || n == 1<<32-1 {
			return nil // written by a program that never came to fill it in
		}
		at += 8 + n
		if at > size {
			return truncated(size, at)
		}
		at += n & 1
	}
	return nil
}

// checkBoxes walks the top-level boxes (ISO/IEC 14496-12, 4.2).
func checkBoxes(f io.ReaderAt, size int64) error {
	for at := int64(0); at < size; {
		var head [16]byte
		n, _ := f.ReadAt(head[:], at)
		if n < 8 {
			return truncated(size, at+8)
		}
		length := int64(binary.BigEndian.Uint32(head[:]))
		if length == 0 {
			return nil // to the end of the file
		}
		if length == 1 && n == len(head) {
			length = int64(binary.BigEndian.Uint64(head[8:]))
		}
		if length < 8 || length > 1<<62 {
			return fmt.Errorf("damaged: a box at byte %d has %d bytes", at, length)
		}
		at += length
		if at > size {
			return truncated(size, at)
		}
	}
	return nil
}

// checkMatroska walks the top-level elements (RFC 8794, section 4): the header and the segment.
func checkMatroska(f io.ReaderAt, size int64) error {
	for at := int64(0); at < size; {
		var head [16]byte
		got, _ := f.ReadAt(head[:], at)
		b := head[:got]
		idLen, _, ok := vint(b)
		if !ok {
			return nil
		}
		sizeLen, length, ok := vint(b[idLen:])
		if !ok || length == 1<<(7*sizeLen)-1 || length > 1<<56 {
			return nil // of unknown length, as live streams have
		}
		at += int64(idLen+sizeLen) + int64(length)
		if at > size {
			return truncated(size, at)
		}
	}
	return nil
}

// vint reads a number of variable length: as many bytes as the first has leading zeros, and one.
func vint(b []byte) (n int, value uint64, ok bool) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0, false
	}
	n = bits.LeadingZeros8(b[0]) + 1
	if len(b) < n {
		return 0, 0, false
	}
	value = uint64(b[0]) & (1<<(8-n) - 1)
	for _, c := range b[1:n] {
		value = value<<8 | uint64(c)
	}
	return n, value, true
}

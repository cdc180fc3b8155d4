package opencv

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func riff(body int) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(body))
	return append(append(b, "AVI "...), make([]byte, body-4)...)
}

func box(kind string, body int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+body))
	return append(append(b, kind...), make([]byte, body)...)
}

func largeBox(kind string, body int) []byte {
	b := append([]byte{0, 0, 0, 1}, kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(16+body))
	return append(b, make([]byte, body)...)
}

func TestCheckExtent(t *testing.T) {
	mkv := slices.Concat([]byte("\x1a\x45\xdf\xa3\x88"), make([]byte, 8), []byte("\x18\x53\x80\x67\x40\x20"), make([]byte, 32))
	for name, whole := range map[string][]byte{
		"avi":            riff(100),
		"avi, odd":       append(riff(101), 0),
		"OpenDML":        slices.Concat(riff(100), riff(50)),
		"mp4":            slices.Concat(box("ftyp", 16), box("moov", 30), box("mdat", 99)),
		"mp4, large box": slices.Concat(box("ftyp", 16), largeBox("mdat", 99)),
		"mkv":            mkv,
	} {
		if err := checkExtent(bytes.NewReader(whole), int64(len(whole))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, less := range []int{2, 10, 30} {
			short := whole[:len(whole)-less]
			if err := checkExtent(bytes.NewReader(short), int64(len(short))); err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Errorf("%s, %d bytes short: %v", name, less, err)
			}
		}
	}
	for name, b := range map[string][]byte{
		"empty":            nil,
		"short":            []byte("RIFF"),
		"another format":   bytes.Repeat([]byte{0x47}, 188),
		"avi with padding": append(riff(100), "junk junk junk"...),
		"avi, unfinished":  slices.Concat([]byte("RIFF\x00\x00\x00\x00AVI "), make([]byte, 50)),
		"mp4 to the end":   slices.Concat(box("ftyp", 16), []byte("\x00\x00\x00\x00mdat"), make([]byte, 50)),
		"mkv, live":        slices.Concat([]byte("\x1a\x45\xdf\xa3\x88"), make([]byte, 8), []byte("\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"), make([]byte, 50)),
	} {
		if err := checkExtent(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := slices.Concat(box("ftyp", 16), []byte("\x00\x00\x00\x03mdat"), make([]byte, 50))
	if err := checkExtent(bytes.NewReader(bad), int64(len(bad))); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a box of 3 bytes: %v", err)
	}
}

func FuzzCheckExtent(f *testing.F) {
	f.Add(riff(20))
	f.Add(slices.Concat(box("ftyp", 16), largeBox("mdat", 9)))
	f.Add([]byte("\x1a\x45\xdf\xa3\x88aaaaaaaa\x18\x53\x80\x67\x40\x20"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// It must end, whatever the sizes say.
		_ = checkExtent(bytes.NewReader(b), int64(len(b)))
	})
}

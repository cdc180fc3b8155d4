package file

import (
	"encoding/binary"
	"fmt"
	"io"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// checkPNG walks the chunks of a PNG file (W3C Portable Network Graphics, 5.3) to its end.
func checkPNG(f io.ReaderAt, size int64) error {
	for at := int64(len(pngMagic)); ; {
		var head [8]byte
		if _, err := f.ReadAt(head[:], at); err != nil {
			return fmt.Errorf("truncated PNG: it has %d bytes and no end chunk", size)
		}
		at += int64(len(head)) + int64(binary.BigEndian.Uint32(head[:])) + 4
		switch {
		case at > size:
			return fmt.Errorf("truncated PNG: its %s chunk ends at byte %d of %d", printable(head[4:]), at, size)
		case string(head[4:]) == "IEND":
			return nil
		}
	}
}

func printable(b []byte) string {
	for _, c := range b {
		if c < 'A' || c > 'z' {
			return "damaged"
		}
	}
	return string(b)
}

// The TIFF tags that say where pixels lie (TIFF 6.0, section 8 and 15).
const (
	tagStripOffsets = 273
	tagStripBytes   = 279
	tagTileOffsets  = 324
	tagTileBytes    = 325
)

// checkTIFF walks the directories of a TIFF file, checks that every strip or tile lies inside the file, and
// returns where the directories are.
func checkTIFF(f io.ReaderAt, size int64) ([]uint32, error) {
	t := tiffWalk{f: f, size: size, order: binary.LittleEndian}
	var head [8]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("truncated TIFF: it has %d bytes", size)
	}
	if head[0] == 'M' {
		t.order = binary.BigEndian
	}
	var pages []uint32
	for at := t.order.Uint32(head[4:]); at != 0; {
		// A directory has at least 18 bytes: more pages than that are a loop.
		if int64(len(pages)) > size/18 {
			return nil, fmt.Errorf("damaged TIFF: its directories form a loop")
		}
		next, err := t.page(int64(at))
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", len(pages)+1, err)
		}
		pages = append(pages, at)
		at = next
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("damaged TIFF: it has no page")
	}
	return pages, nil
}

type tiffWalk struct {
	f     io.ReaderAt
	size  int64
	order binary.ByteOrder
}

// read returns the n bytes at at.
func (t *tiffWalk) read(at, n int64) ([]byte, error) {
	if at+n > t.size {
		return nil, fmt.Errorf("truncated TIFF: bytes %d to %d of %d", at, at+n, t.size)
	}
	b := make([]byte, n)
	_, err := t.f.ReadAt(b, at)
	return b, err
}

// page checks the directory at at and returns where the next one is, 0 after the last.
func (t *tiffWalk) page(at int64) (uint32, error) {
	head, err := t.read(at, 2)
	if err != nil {
		return 0, err
	}
	n := int64(t.order.Uint16(head))
	dir, err := t.read(at+2, 12*n+4)
	if err != nil {
		return 0, err
	}
	values := map[uint16][]uint32{}
	for i := range n {
		entry := dir[12*i:][:12]
		switch tag := t.order.Uint16(entry); tag {
		case tagStripOffsets, tagStripBytes, tagTileOffsets, tagTileBytes:
			if values[tag], err = t.values(entry); err != nil {
				return 0, err
			}
		}
	}
	for _, tags := range [][2]uint16{{tagStripOffsets, tagStripBytes}, {tagTileOffsets, tagTileBytes}} {
		offsets, counts := values[tags[0]], values[tags[1]]
		for i := range min(len(offsets), len(counts)) {
			if end := int64(offsets[i]) + int64(counts[i]); end > t.size {
				return 0, fmt.Errorf("truncated TIFF: its pixels end at byte %d of %d", end, t.size)
			}
		}
	}
	return t.order.Uint32(dir[12*n:]), nil
}

// values reads the numbers of an entry of type SHORT or LONG.
func (t *tiffWalk) values(entry []byte) ([]uint32, error) {
	width := int64(4)
	if t.order.Uint16(entry[2:]) == 3 {
		width = 2
	}
	n := int64(t.order.Uint32(entry[4:]))
	b := entry[8:]
	if n*width > 4 {
		var err error
		if b, err = t.read(int64(t.order.Uint32(entry[8:])), n*width); err != nil {
			return nil, err
		}
	}
	v := make([]uint32, n)
	for i := range v {
		if width == 2 {
			v[i] = uint32(t.order.Uint16(b[2*i:]))
		} else {
			v[i] = t.order.Uint32(b[4*i:])
		}
	}
	return v, nil
}

// pageReader is a TIFF file whose header names another page as the first.
type pageReader struct {
	*io.SectionReader
	page uint32
}

// ReadAt implements [io.ReaderAt], which the decoder prefers to Read.
func (p *pageReader) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.SectionReader.ReadAt(b, at)
	var order binary.ByteOrder = binary.LittleEndian
	var head [8]byte
	if at < int64(len(head)) {
		if _, err := p.SectionReader.ReadAt(head[:], 0); err != nil {
			return 0, err
		}
		if head[0] == 'M' {
			order = binary.BigEndian
		}
		order.PutUint32(head[4:], p.page)
		copy(b[:n], head[at:])
	}
	return n, err
}

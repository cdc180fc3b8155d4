package store

import (
	"errors"
	"io"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// verifyBlock is how much is read at a time, in bytes.
const verifyBlock = 1 << 20

// window makes checksums of a file's chunks, reading it in large pieces: small chunks that are neighbours are read
// together.
type window struct {
	f   vfs.File
	buf []byte // aligned, of whole blocks
	at  int64  // where in the file buf begins
	n   int    // how much of buf is filled
}

func newWindow(f vfs.File, a Attributes) *window {
	frame := vfs.Pad(int64(a.Geometry.FrameBytes())) + vfs.Block
	return &window{f: f, buf: vfs.Alloc(int(min(verifyBlock, frame*int64(min(a.ShardFrames, verifyBlock)))))}
}

// crc makes the checksum of what lies at sp; io.ErrUnexpectedEOF where the file ends within.
func (w *window) crc(sp span) (uint32, error) {
	crc := uint32(0)
	for off, left := int64(sp.offset), int64(sp.size); left > 0; {
		if off < w.at || off >= w.at+int64(w.n) {
			from := off - off%vfs.Block
			n, err := w.f.ReadAt(w.buf, from)
			if w.at, w.n = from, n; from+int64(n) <= off {
				w.n = 0
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
		}
		got := w.buf[off-w.at : min(int64(w.n), off-w.at+left)]
		crc = crc32c.Update(crc, got)
		off, left = off+int64(len(got)), left-int64(len(got))
	}
	return crc, nil
}

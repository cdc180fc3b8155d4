package crc32c

import (
	"hash/crc32"

	"github.com/sluicedaq/sluice/internal/nontemporal"
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the checksum of b.
func Checksum(b []byte) uint32 { return Update(0, b) }

// Copy copies src to dst, which is as long, past the processor's caches, and returns the checksum of what crc is the checksum
// of, followed by src. It costs little more than the copy: the bytes are in the processor's registers anyway. A checksum
// that is made later has to fetch them from memory again.
func Copy(crc uint32, dst, src []byte) uint32 {
	head, n := fusable(dst)
	if n == 0 {
		nontemporal.Copy(dst, src)
		return Update(crc, src)
	}
	copy(dst[:head], src)
	crc = crc32.Update(crc, table, src[:head])
	crc = copyUpdate(crc, dst[head:head+n], src[head:head+n])
	return Update(crc, src[head+n:][:copy(dst[head+n:], src[head+n:])])
}

// Update is the checksum of what crc is the checksum of, followed by b.
func Update(crc uint32, b []byte) uint32 {
	n := blocks(len(b))
	if n > 0 {
		crc = update(crc, b[:n])
	}
	return crc32.Update(crc, table, b[n:])
}

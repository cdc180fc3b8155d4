package crc32c

import "hash/crc32"

var table = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the checksum of b.
func Checksum(b []byte) uint32 { return Update(0, b) }

// Update is the checksum of what crc is the checksum of, followed by b.
func Update(crc uint32, b []byte) uint32 {
	n := blocks(len(b))
	if n > 0 {
		crc = update(crc, b[:n])
	}
	return crc32.Update(crc, table, b[n:])
}

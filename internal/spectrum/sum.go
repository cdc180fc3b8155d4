package spectrum

import "encoding/binary"

// sum8 is the sum of the bytes. It adds eight at a time, in four lanes of 16 bits of a word.
func sum8(b []byte) uint64 {
	const (
		lanes = 0x00ff00ff00ff00ff
		most  = 128 * 16 // a lane gets at most 2·255 a word, so it holds 128 words
	)
	var total uint64
	for len(b) >= 16 {
		part := b[:min(len(b)&^15, most)]
		b = b[len(part):]
		var s0, s1 uint64
		for len(part) >= 16 {
			v0 := binary.LittleEndian.Uint64(part)
			v1 := binary.LittleEndian.Uint64(part[8:16])
			s0 += v0&lanes + v0>>8&lanes
			s1 += v1&lanes + v1>>8&lanes
			part = part[16:]
		}
		total += fold16(s0) + fold16(s1)
	}
	if len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		total += fold16(v&lanes + v>>8&lanes)
		b = b[8:]
	}
	for _, v := range b {
		total += uint64(v)
	}
	return total
}

// fold16 is the sum of a word's four lanes of 16 bits.
func fold16(s uint64) uint64 {
	s = s&0x0000ffff0000ffff + s>>16&0x0000ffff0000ffff
	return s>>32 + s&0xffffffff
}

// sum16 is the sum of little-endian 16-bit samples. It adds four at a time, in two lanes of 32 bits of a
// word. An odd last byte is ignored.
func sum16(b []byte) uint64 {
	const (
		lanes = 0x0000ffff0000ffff
		most  = 32768 * 32 // a lane gets at most 2·65535 a word, so it holds 32768 words
	)
	var total uint64
	for len(b) >= 32 {
		part := b[:min(len(b)&^31, most)]
		b = b[len(part):]
		var s0, s1, s2, s3 uint64
		for len(part) >= 32 {
			v0 := binary.LittleEndian.Uint64(part)
			v1 := binary.LittleEndian.Uint64(part[8:16])
			v2 := binary.LittleEndian.Uint64(part[16:24])
			v3 := binary.LittleEndian.Uint64(part[24:32])
			s0 += v0&lanes + v0>>16&lanes
			s1 += v1&lanes + v1>>16&lanes
			s2 += v2&lanes + v2>>16&lanes
			s3 += v3&lanes + v3>>16&lanes
			part = part[32:]
		}
		total += s0>>32 + s0&0xffffffff + s1>>32 + s1&0xffffffff
		total += s2>>32 + s2&0xffffffff + s3>>32 + s3&0xffffffff
	}
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		v = v&lanes + v>>16&lanes
		total += v>>32 + v&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(binary.LittleEndian.Uint16(b))
	}
	return total
}

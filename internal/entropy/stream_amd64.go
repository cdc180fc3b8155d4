package entropy

import "golang.org/x/sys/cpu"

// codePair codes all bytes of two streams, which have equally many, some groups and at least one.
func codePair(a, b *stream, code *[256]entry) {
	if !cpu.X86.HasBMI2 {
		codeGroups(a, b, code)
		return
	}
	x, y := &registers{acc: a.acc, n: a.n}, &registers{acc: b.acc, n: b.n}
	codeBMI2(x, y, &a.src[0], &b.src[0], &a.dst[0], &b.dst[0], &code[0], len(a.src))
	a.src, a.dst, a.acc, a.n = nil, a.dst[x.written:], x.acc, x.n
	b.src, b.dst, b.acc, b.n = nil, b.dst[y.written:], y.acc, y.n
}

// registers is what changes of a stream.
type registers struct{ acc, n, written uint64 }

// codeBMI2 codes n bytes of two streams, a multiple of group and not 0, the last ones first.
//
//go:noescape
func codeBMI2(a, b *registers, srcA, srcB, dstA, dstB *byte, code *entry, n int)

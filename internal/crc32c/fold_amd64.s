#include "textflag.h"

// FOLD multiplies the four 128-bit lanes of a by the factors k and adds what is at b; t is overwritten.
#define FOLD(k, b, t, a) \
	VPCLMULQDQ $0x00, k, a, t \
	VPCLMULQDQ $0x11, k, a, a \
	VPTERNLOGQ $0x96, b, t, a

// FOLDX is the same for one lane.
#define FOLDX(k, b, t, a) \
	VPCLMULQDQ $0x00, k, a, t \
	VPCLMULQDQ $0x11, k, a, a \
	VPXOR      t, a, a       \
	VPXOR      b, a, a

// func fold(crc uint32, p *byte, n int, factors *[6]uint64) uint32
TEXT ·fold(SB), NOSPLIT, $0-36
	MOVL            crc+0(FP), AX
	MOVQ            p+8(FP), SI
	MOVQ            n+16(FP), CX
	MOVQ            factors+24(FP), DX
	VBROADCASTI32X4 (DX), Z8
	VMOVDQU64       (SI), Z0
	VMOVDQU64       64(SI), Z1
	VMOVDQU64       128(SI), Z2
	VMOVDQU64       192(SI), Z3
	VMOVD           AX, X9
	VPXORQ          Z9, Z0, Z0
	ADDQ            $256, SI
	SUBQ            $256, CX

loop:
	// A prefetch behind the end of the memory is no fault.
	PREFETCHT0 2048(SI)
	PREFETCHT0 2112(SI)
	PREFETCHT0 2176(SI)
	PREFETCHT0 2240(SI)
	FOLD(Z8, (SI), Z4, Z0)
	FOLD(Z8, 64(SI), Z5, Z1)
	FOLD(Z8, 128(SI), Z6, Z2)
	FOLD(Z8, 192(SI), Z7, Z3)
	ADDQ       $256, SI
	SUBQ       $256, CX
	JG         loop

	VBROADCASTI32X4 16(DX), Z8
	FOLD(Z8, Z1, Z4, Z0)
	FOLD(Z8, Z2, Z4, Z0)
	FOLD(Z8, Z3, Z4, Z0)

	VMOVDQU       32(DX), X8
	VEXTRACTI32X4 $1, Z0, X1
	VEXTRACTI32X4 $2, Z0, X2
	VEXTRACTI32X4 $3, Z0, X3
	FOLDX(X8, X1, X4, X0)
	FOLDX(X8, X2, X4, X0)
	FOLDX(X8, X3, X4, X0)

	// The remainder of what is left is its checksum from zero.
	VMOVQ   X0, R8
	VPEXTRQ $1, X0, R9
	XORL    AX, AX
	CRC32Q  R8, AX
	CRC32Q  R9, AX
	VZEROUPPER
	MOVL    AX, ret+32(FP)
	RET

// func prefetch(p *byte, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX

line:
	PREFETCHT0 (SI)
	ADDQ       $64, SI
	SUBQ       $64, CX
	JG         line
	RET

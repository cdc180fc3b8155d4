#include "textflag.h"

// FOLD multiplies the four 128-bit lanes of a by the factors k and adds what is at b; t is overwritten.
#define FOLD(k, b, t, a) \
	VPCLMULQDQ $0x00, k, a, t \
	VPCLMULQDQ $0x11, k, a, a \
	VPTERNLOGQ $0x96, b, t, a

// FOLDX is the same for the one or two lanes of a shorter register, without AVX-512.
#define FOLDX(k, b, t, a) \
	VPCLMULQDQ $0x00, k, a, t \
	VPCLMULQDQ $0x11, k, a, a \
	VPXOR      b, t, t       \
	VPXOR      t, a, a

// SUM leaves in AX the checksum from zero of the 16 bytes in X0, which is the remainder of all that was folded into them.
#define SUM \
	VMOVQ   X0, R8     \
	VPEXTRQ $1, X0, R9 \
	XORL    AX, AX     \
	CRC32Q  R8, AX     \
	CRC32Q  R9, AX

// func fold512(crc uint32, p *byte, n int, factors *[8]uint64) uint32
TEXT ·fold512(SB), NOSPLIT, $0-36
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

	VMOVDQU       48(DX), X8
	VEXTRACTI32X4 $1, Z0, X1
	VEXTRACTI32X4 $2, Z0, X2
	VEXTRACTI32X4 $3, Z0, X3
	FOLDX(X8, X1, X4, X0)
	FOLDX(X8, X2, X4, X0)
	FOLDX(X8, X3, X4, X0)

	SUM
	VZEROUPPER
	MOVL AX, ret+32(FP)
	RET

// func fold256(crc uint32, p *byte, n int, factors *[8]uint64) uint32
TEXT ·fold256(SB), NOSPLIT, $0-36
	MOVL           crc+0(FP), AX
	MOVQ           p+8(FP), SI
	MOVQ           n+16(FP), CX
	MOVQ           factors+24(FP), DX
	VBROADCASTI128 (DX), Y8
	VMOVDQU        (SI), Y0
	VMOVDQU        32(SI), Y1
	VMOVDQU        64(SI), Y2
	VMOVDQU        96(SI), Y3
	VMOVDQU        128(SI), Y4
	VMOVDQU        160(SI), Y5
	VMOVDQU        192(SI), Y6
	VMOVDQU        224(SI), Y7
	VMOVD          AX, X9
	VPXOR          Y9, Y0, Y0
	ADDQ           $256, SI
	SUBQ           $256, CX

loop:
	PREFETCHT0 2048(SI)
	PREFETCHT0 2112(SI)
	PREFETCHT0 2176(SI)
	PREFETCHT0 2240(SI)
	FOLDX(Y8, (SI), Y9, Y0)
	FOLDX(Y8, 32(SI), Y10, Y1)
	FOLDX(Y8, 64(SI), Y11, Y2)
	FOLDX(Y8, 96(SI), Y12, Y3)
	FOLDX(Y8, 128(SI), Y9, Y4)
	FOLDX(Y8, 160(SI), Y10, Y5)
	FOLDX(Y8, 192(SI), Y11, Y6)
	FOLDX(Y8, 224(SI), Y12, Y7)
	ADDQ       $256, SI
	SUBQ       $256, CX
	JG         loop

	VBROADCASTI128 32(DX), Y8
	FOLDX(Y8, Y1, Y9, Y0)
	FOLDX(Y8, Y2, Y9, Y0)
	FOLDX(Y8, Y3, Y9, Y0)
	FOLDX(Y8, Y4, Y9, Y0)
	FOLDX(Y8, Y5, Y9, Y0)
	FOLDX(Y8, Y6, Y9, Y0)
	FOLDX(Y8, Y7, Y9, Y0)

	VMOVDQU      48(DX), X8
	VEXTRACTI128 $1, Y0, X1
	FOLDX(X8, X1, X9, X0)

	SUM
	VZEROUPPER
	MOVL AX, ret+32(FP)
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

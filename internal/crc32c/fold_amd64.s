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

// FOLDCOPY copies 32 bytes at the offset past the cache and folds them into a; t is overwritten.
#define FOLDCOPY(at, t, a) \
	VMOVDQU    at(SI), Y13   \
	VMOVNTDQ   Y13, at(DI)   \
	FOLDX(Y8, Y13, t, a)

// SUM leaves in AX the checksum from zero of the 16 bytes in X0, which is the remainder of all that was folded into them.
#define SUM \
	VMOVQ   X0, R8     \
	VPEXTRQ $1, X0, R9 \
	XORL    AX, AX     \
	CRC32Q  R8, AX     \
	CRC32Q  R9, AX

// REDUCE leaves in AX the checksum of what was folded into Y0 to Y7; DX has the factors.
#define REDUCE \
	VBROADCASTI128 32(DX), Y8 \
	FOLDX(Y8, Y1, Y9, Y0)     \
	FOLDX(Y8, Y2, Y9, Y0)     \
	FOLDX(Y8, Y3, Y9, Y0)     \
	FOLDX(Y8, Y4, Y9, Y0)     \
	FOLDX(Y8, Y5, Y9, Y0)     \
	FOLDX(Y8, Y6, Y9, Y0)     \
	FOLDX(Y8, Y7, Y9, Y0)     \
	VMOVDQU        48(DX), X8 \
	VEXTRACTI128   $1, Y0, X1 \
	FOLDX(X8, X1, X9, X0)     \
	SUM

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

	REDUCE
	VZEROUPPER
	MOVL AX, ret+32(FP)
	RET

// func copy256(crc uint32, dst, src *byte, n int, factors *[8]uint64) uint32
TEXT ·copy256(SB), NOSPLIT, $0-44
	MOVL           crc+0(FP), AX
	MOVQ           dst+8(FP), DI
	MOVQ           src+16(FP), SI
	MOVQ           n+24(FP), CX
	MOVQ           factors+32(FP), DX
	VBROADCASTI128 (DX), Y8
	VMOVDQU        (SI), Y0
	VMOVDQU        32(SI), Y1
	VMOVDQU        64(SI), Y2
	VMOVDQU        96(SI), Y3
	VMOVDQU        128(SI), Y4
	VMOVDQU        160(SI), Y5
	VMOVDQU        192(SI), Y6
	VMOVDQU        224(SI), Y7
	VMOVNTDQ       Y0, (DI)
	VMOVNTDQ       Y1, 32(DI)
	VMOVNTDQ       Y2, 64(DI)
	VMOVNTDQ       Y3, 96(DI)
	VMOVNTDQ       Y4, 128(DI)
	VMOVNTDQ       Y5, 160(DI)
	VMOVNTDQ       Y6, 192(DI)
	VMOVNTDQ       Y7, 224(DI)
	VMOVD          AX, X9
	VPXOR          Y9, Y0, Y0
	ADDQ           $256, SI
	ADDQ           $256, DI
	SUBQ           $256, CX

loop:
	FOLDCOPY(0, Y9, Y0)
	FOLDCOPY(32, Y10, Y1)
	FOLDCOPY(64, Y11, Y2)
	FOLDCOPY(96, Y12, Y3)
	FOLDCOPY(128, Y9, Y4)
	FOLDCOPY(160, Y10, Y5)
	FOLDCOPY(192, Y11, Y6)
	FOLDCOPY(224, Y12, Y7)
	ADDQ       $256, SI
	ADDQ       $256, DI
	SUBQ       $256, CX
	JG         loop

	// What follows the copy must not be seen before it.
	SFENCE

	REDUCE
	VZEROUPPER
	MOVL AX, ret+40(FP)
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

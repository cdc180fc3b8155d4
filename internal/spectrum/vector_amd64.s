#include "textflag.h"

// 32 bytes from place i on keep the last i of 32.
DATA last<>+32(SB)/8, $0xffffffffffffffff
DATA last<>+40(SB)/8, $0xffffffffffffffff
DATA last<>+48(SB)/8, $0xffffffffffffffff
DATA last<>+56(SB)/8, $0xffffffffffffffff
GLOBL last<>(SB), RODATA|NOPTR, $64

// func sumAVX2(p *byte, n, stride, rows int) (sum, high uint64)
//
// VPSADBW adds up the differences of eight bytes to zero, four times. Shifted by eight bits, only the second byte of
// each pair is left. What is left of a row after whole vectors is in the last vector that ends with the row.
TEXT ·sumAVX2(SB), NOSPLIT, $0-48
	MOVQ    p+0(FP), SI
	MOVQ    n+8(FP), BX
	MOVQ    stride+16(FP), DX
	MOVQ    rows+24(FP), CX
	LEAQ    last<>(SB), R8
	MOVQ    BX, R9
	ANDQ    $31, R9
	VMOVDQU (R8)(R9*1), Y9
	MOVQ    CX, R10
	IMULQ   DX, R10
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3
	VPXOR   Y4, Y4, Y4

row:
	MOVQ SI, DI
	MOVQ BX, AX
	SUBQ $64, AX
	JLT  single

pair:
	PREFETCHT0 (DI)(R10*1)
	VMOVDQU (DI), Y5
	VMOVDQU 32(DI), Y6
	VPSADBW Y0, Y5, Y7
	VPSADBW Y0, Y6, Y8
	VPSRLW  $8, Y5, Y5
	VPSRLW  $8, Y6, Y6
	VPSADBW Y0, Y5, Y5
	VPSADBW Y0, Y6, Y6
	VPADDQ  Y7, Y1, Y1
	VPADDQ  Y8, Y2, Y2
	VPADDQ  Y5, Y3, Y3
	VPADDQ  Y6, Y4, Y4
	ADDQ    $64, DI
	SUBQ    $64, AX
	JGE     pair

single:
	CMPQ    AX, $-32
	JLT     tail
	VMOVDQU (DI), Y5
	VPSADBW Y0, Y5, Y7
	VPSRLW  $8, Y5, Y5
	VPSADBW Y0, Y5, Y5
	VPADDQ  Y7, Y1, Y1
	VPADDQ  Y5, Y3, Y3

tail:
	TESTQ   R9, R9
	JEQ     next
	VMOVDQU -32(SI)(BX*1), Y6
	VPAND   Y9, Y6, Y6
	VPSADBW Y0, Y6, Y8
	VPSRLW  $8, Y6, Y6
	VPSADBW Y0, Y6, Y6
	VPADDQ  Y8, Y2, Y2
	VPADDQ  Y6, Y4, Y4

next:
	ADDQ DX, SI
	DECQ CX
	JNZ  row

	VPADDQ       Y2, Y1, Y1
	VPADDQ       Y4, Y3, Y3
	VPUNPCKLQDQ  Y3, Y1, Y2
	VPUNPCKHQDQ  Y3, Y1, Y4
	VPADDQ       Y4, Y2, Y2
	VEXTRACTI128 $1, Y2, X4
	VPADDQ       X4, X2, X2
	VMOVDQU      X2, sum+32(FP)
	VZEROUPPER
	RET

// func aboveAVX2(p *float32, n int, floor float32) int
TEXT ·aboveAVX2(SB), NOSPLIT, $0-32
	MOVQ         p+0(FP), SI
	MOVQ         n+8(FP), CX
	VBROADCASTSS floor+16(FP), Y0
	XORQ         AX, AX

loop:
	VMOVUPS   (SI)(AX*4), Y1
	VCMPPS    $0x1e, Y0, Y1, Y1
	VMOVMSKPS Y1, DX
	TESTL     DX, DX
	JNZ       found
	ADDQ      $8, AX
	CMPQ      AX, CX
	JLT       loop
	MOVQ      AX, ret+24(FP)
	VZEROUPPER
	RET

found:
	BSFL DX, DX
	ADDQ DX, AX
	MOVQ AX, ret+24(FP)
	VZEROUPPER
	RET

// func ringsAVX2(sums *[8]float64, bins *[8]uint16, up, down *[16]float32, powerUp, powerDown *[8]float32, squares *float64, weights *[8]float32, n int, totals *stripTotals)
//
// Two columns at a time: their sums lie beside each other or in different rings, never in the same place.
TEXT ·ringsAVX2(SB), NOSPLIT, $0-80
	MOVQ    sums+0(FP), DI
	MOVQ    bins+8(FP), BX
	MOVQ    up+16(FP), SI
	MOVQ    down+24(FP), DX
	MOVQ    powerUp+32(FP), R12
	MOVQ    powerDown+40(FP), R13
	MOVQ    squares+48(FP), R8
	MOVQ    weights+56(FP), R9
	MOVQ    n+64(FP), CX
	MOVQ    totals+72(FP), R10
	VMOVUPS (R9), Y7
	VMOVUPD (R10), Y8
	VMOVUPD 32(R10), Y9
	VMOVUPD 64(R10), Y10
	VMOVUPD 96(R10), Y11
	VMOVUPS 128(R10), Y15

loop:
	VMOVUPS      (SI), Y0
	VMOVUPS      32(SI), Y1
	VMOVUPS      (DX), Y2
	VMOVUPS      32(DX), Y3
	VMULPS       Y0, Y0, Y0
	VMULPS       Y2, Y2, Y2
	VFMADD231PS  Y1, Y1, Y0
	VFMADD231PS  Y3, Y3, Y2
	VMOVUPS      Y0, (R12)
	VMOVUPS      Y2, (R13)
	VMAXPS       Y2, Y0, Y3
	VMAXPS       Y3, Y15, Y15
	VADDPS       Y2, Y0, Y0
	VMULPS       Y7, Y0, Y0
	VBROADCASTSD (R8), Y3
	VEXTRACTF128 $1, Y0, X2
	VCVTPS2PD    X0, Y1
	VCVTPS2PD    X2, Y2
	VADDPD       Y1, Y8, Y8
	VADDPD       Y2, Y9, Y9
	VFMADD231PD  Y3, Y1, Y10
	VFMADD231PD  Y3, Y2, Y11
	VEXTRACTF128 $1, Y1, X4
	VEXTRACTF128 $1, Y2, X5

	MOVWLZX   (BX), AX
	MOVWLZX   2(BX), R11
	VPERMILPD $1, X1, X6
	VADDSD    (DI)(AX*8), X1, X1
	VADDSD    8(DI)(R11*8), X6, X6
	VMOVSD    X1, (DI)(AX*8)
	VMOVSD    X6, 8(DI)(R11*8)

	MOVWLZX   4(BX), AX
	MOVWLZX   6(BX), R11
	VPERMILPD $1, X4, X12
	VADDSD    16(DI)(AX*8), X4, X4
	VADDSD    24(DI)(R11*8), X12, X12
	VMOVSD    X4, 16(DI)(AX*8)
	VMOVSD    X12, 24(DI)(R11*8)

	MOVWLZX   8(BX), AX
	MOVWLZX   10(BX), R11
	VPERMILPD $1, X2, X13
	VADDSD    32(DI)(AX*8), X2, X2
	VADDSD    40(DI)(R11*8), X13, X13
	VMOVSD    X2, 32(DI)(AX*8)
	VMOVSD    X13, 40(DI)(R11*8)

	MOVWLZX   12(BX), AX
	MOVWLZX   14(BX), R11
	VPERMILPD $1, X5, X14
	VADDSD    48(DI)(AX*8), X5, X5
	VADDSD    56(DI)(R11*8), X14, X14
	VMOVSD    X5, 48(DI)(AX*8)
	VMOVSD    X14, 56(DI)(R11*8)

	ADDQ $64, SI
	SUBQ $64, DX
	ADDQ $32, R12
	SUBQ $32, R13
	ADDQ $16, BX
	ADDQ $8, R8
	DECQ CX
	JNZ  loop

	VMOVUPD Y8, (R10)
	VMOVUPD Y9, 32(R10)
	VMOVUPD Y10, 64(R10)
	VMOVUPD Y11, 96(R10)
	VMOVUPS Y15, 128(R10)
	VZEROUPPER
	RET

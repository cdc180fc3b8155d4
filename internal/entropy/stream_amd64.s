#include "textflag.h"

// CODE adds the codes of the i-th byte from the end of each of the two streams.
#define CODE(i) \
	MOVBLZX -i(SI)(CX*1), AX  \
	MOVBLZX -i(R10)(CX*1), BX \
	MOVQ    (DX)(AX*8), AX    \
	MOVQ    (DX)(BX*8), BX    \
	SHRXQ   AX, R8, R8        \
	SHRXQ   BX, R12, R12      \
	ADDQ    AX, R9            \
	ADDQ    BX, R13           \
	ORQ     AX, R8            \
	ORQ     BX, R12

// func codeBMI2(a, b *registers, srcA, srcB, dstA, dstB *byte, code *entry, n int)
//
// A code comes from the top: what is there moves down by the code's length, which lies in the code's own lowest byte, and
// the code goes above it. The lengths that come along at the bottom move out of the word, but for the group's last one,
// which would meet the bits: it is cut off. The counts of bits grow by whole codes, of which only the lowest byte is
// looked at.
TEXT ·codeBMI2(SB), NOSPLIT, $0-64
	MOVQ a+0(FP), AX
	MOVQ b+8(FP), BX
	MOVQ srcA+16(FP), SI
	MOVQ srcB+24(FP), R10
	MOVQ dstA+32(FP), DI
	MOVQ dstB+40(FP), R11
	MOVQ code+48(FP), DX
	MOVQ n+56(FP), CX
	MOVQ 0(AX), R8
	MOVQ 8(AX), R9
	MOVQ 0(BX), R12
	MOVQ 8(BX), R13

loop:
	CODE(1)
	CODE(2)
	CODE(3)
	CODE(4)

	MOVBLZX -5(SI)(CX*1), AX
	MOVBLZX -5(R10)(CX*1), BX
	MOVQ    (DX)(AX*8), AX
	MOVQ    (DX)(BX*8), BX
	SHRXQ   AX, R8, R8
	SHRXQ   BX, R12, R12
	ADDQ    AX, R9
	ADDQ    BX, R13
	ANDQ    $~0xff, AX
	ANDQ    $~0xff, BX
	ORQ     AX, R8
	ORQ     BX, R12

	MOVBLZX R9, R9
	MOVBLZX R13, R13
	MOVQ    R9, AX
	MOVQ    R13, BX
	NEGQ    AX
	NEGQ    BX
	SHRXQ   AX, R8, AX
	SHRXQ   BX, R12, BX
	MOVQ    AX, (DI)
	MOVQ    BX, (R11)
	MOVQ    R9, AX
	MOVQ    R13, BX
	SHRQ    $3, AX
	SHRQ    $3, BX
	ADDQ    AX, DI
	ADDQ    BX, R11
	ANDQ    $7, R9
	ANDQ    $7, R13
	SUBQ    $5, CX
	JNZ     loop

	MOVQ a+0(FP), AX
	MOVQ b+8(FP), BX
	SUBQ dstA+32(FP), DI
	SUBQ dstB+40(FP), R11
	MOVQ R8, 0(AX)
	MOVQ R9, 8(AX)
	MOVQ DI, 16(AX)
	MOVQ R12, 0(BX)
	MOVQ R13, 8(BX)
	MOVQ R11, 16(BX)
	RET

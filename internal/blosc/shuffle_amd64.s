#include "textflag.h"

DATA lowBytes<>+0(SB)/8, $0x00ff00ff00ff00ff
DATA lowBytes<>+8(SB)/8, $0x00ff00ff00ff00ff
DATA lowBytes<>+16(SB)/8, $0x00ff00ff00ff00ff
DATA lowBytes<>+24(SB)/8, $0x00ff00ff00ff00ff
GLOBL lowBytes<>(SB), RODATA|NOPTR, $32

// func shuffleAVX2(low, high, src *byte, n int)
//
// VPACKUSWB packs within each half of its operands, so the quarters come out in the order 0 2 1 3: VPERMQ puts them
// right.
TEXT ·shuffleAVX2(SB), NOSPLIT, $0-32
	MOVQ low+0(FP), DI
	MOVQ high+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	VMOVDQU lowBytes<>(SB), Y7

loop:
	VMOVDQU   (SI), Y0
	VMOVDQU   32(SI), Y1
	VPAND     Y7, Y0, Y2
	VPAND     Y7, Y1, Y3
	VPACKUSWB Y3, Y2, Y2
	VPERMQ    $0xd8, Y2, Y2
	VMOVDQU   Y2, (DI)
	VPSRLW    $8, Y0, Y0
	VPSRLW    $8, Y1, Y1
	VPACKUSWB Y1, Y0, Y0
	VPERMQ    $0xd8, Y0, Y0
	VMOVDQU   Y0, (DX)
	ADDQ      $64, SI
	ADDQ      $32, DI
	ADDQ      $32, DX
	SUBQ      $32, CX
	JNZ       loop
	VZEROUPPER
	RET

// func unshuffleAVX2(dst, low, high *byte, n int)
//
// VPUNPCK works within halves too, so the quarters are put into the order 0 2 1 3 first.
TEXT ·unshuffleAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ low+8(FP), SI
	MOVQ high+16(FP), DX
	MOVQ n+24(FP), CX

loop:
	VMOVDQU    (SI), Y0
	VMOVDQU    (DX), Y1
	VPERMQ     $0xd8, Y0, Y0
	VPERMQ     $0xd8, Y1, Y1
	VPUNPCKLBW Y1, Y0, Y2
	VPUNPCKHBW Y1, Y0, Y3
	VMOVDQU    Y2, (DI)
	VMOVDQU    Y3, 32(DI)
	ADDQ       $64, DI
	ADDQ       $32, SI
	ADDQ       $32, DX
	SUBQ       $32, CX
	JNZ        loop
	VZEROUPPER
	RET

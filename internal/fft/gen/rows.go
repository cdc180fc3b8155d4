package main

import (
	"fmt"
	"strconv"
)

// rowSources are the pointers to the eight rows that are loaded at a time.
var rowSources = []string{"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

// transpose writes the transposition of the 8 × 8 numbers in the registers r, with the help of a free one. It
// returns the registers that hold the result.
func transpose(out *text, r [8]int, free int) [8]int {
	// pair makes two results of two values, which go.
	pair := func(a, b int, first, second func(a, b, d string)) (int, int) {
		lo := free
		first(y(a), y(b), y(lo))
		second(y(a), y(b), y(a))
		free = b
		return lo, a
	}
	unpack := func(name string) func(a, b, d string) {
		return func(a, b, d string) { out.op(name, b, a, d) }
	}
	immediate := func(name, n string) func(a, b, d string) {
		return func(a, b, d string) { out.op(name, n, b, a, d) }
	}
	for i := 0; i < 8; i += 2 {
		r[i], r[i+1] = pair(r[i], r[i+1], unpack("VUNPCKLPS"), unpack("VUNPCKHPS"))
	}
	shuffle := func(a, b int) (int, int) {
		return pair(a, b, immediate("VSHUFPS", "$0x44"), immediate("VSHUFPS", "$0xee"))
	}
	for i := 0; i < 8; i += 4 {
		r[i+1], r[i+2] = r[i+2], r[i+1]
		r[i], r[i+1] = shuffle(r[i], r[i+1])
		r[i+2], r[i+3] = shuffle(r[i+2], r[i+3])
	}
	for i := range 4 {
		r[i], r[i+4] = pair(r[i], r[i+4], immediate("VPERM2F128", "$0x20"), immediate("VPERM2F128", "$0x31"))
	}
	return r
}

// assemblyLoad writes a loader of eight rows of samples of one kind.
func assemblyLoad(out *text, name string, size int, convert func(row, register string)) {
	out.line("\n// func %s(dst []float32, src []byte, wx []float32, rows *rows, blocks int)", name)
	out.line("TEXT ·%s(SB), NOSPLIT, $0-88", name)
	out.argument("dst_base", 0, "DI")
	out.argument("src_base", 24, "SI")
	out.argument("wx_base", 48, "DX")
	out.argument("rows", 72, "BX")
	out.argument("blocks", 80, "CX")
	for i, r := range rowSources {
		out.op("MOVQ", fmt.Sprintf("rows_offset+%d(BX)", 8*i), r)
		out.op("ADDQ", "SI", r)
	}
	out.op("MOVQ", "rows_ahead(BX)", "SI")
	out.op("VBROADCASTSS", "rows_whole(BX)", "Y12")
	out.op("VBROADCASTSS", "rows_rest(BX)", "Y13")
	out.op("VMOVUPS", "rows_wy(BX)", "Y15")
	out.op("VXORPS", "Y10", "Y10", "Y10")
	out.op("VXORPS", "Y11", "Y11", "Y11")
	out.label("loop")
	out.op("VMOVUPS", "(DX)", "Y14")
	for i, r := range rowSources {
		convert("("+r+")", y(i))
		out.op("PREFETCHT1", "("+r+")(SI*1)")
		out.op("VSUBPS", "Y13", y(i), y(i))
		out.op("VMULPS", "Y14", y(i), y(i))
		out.op("ADDQ", "$"+strconv.Itoa(8*size), r)
	}
	for i, r := range transpose(out, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, 8) {
		out.op("VMULPS", "Y15", y(r), y(r))
		out.op("VFMADD231PS", y(r), y(r), y(10+i%2))
		out.op("VMOVUPS", y(r), fmt.Sprintf("%d(DI)", 32*i))
	}
	out.op("ADDQ", "$32", "DX")
	out.op("ADDQ", "$256", "DI")
	out.op("DECQ", "CX")
	out.op("JNZ", "loop")
	out.op("VADDPS", "Y11", "Y10", "Y10")
	out.op("VMOVUPS", "Y10", "rows_energy(BX)")
	out.op("VZEROUPPER")
	out.op("RET")
}

func assemblyLoads(out *text) {
	assemblyLoad(out, "load8AVX2", 1, func(row, r string) {
		out.op("VPMOVZXBD", row, r)
		out.op("VPSUBD", "Y12", r, r)
		out.op("VCVTDQ2PS", r, r)
	})
	assemblyLoad(out, "load16AVX2", 2, func(row, r string) {
		out.op("VPMOVZXWD", row, r)
		out.op("VPSUBD", "Y12", r, r)
		out.op("VCVTDQ2PS", r, r)
	})
	assemblyLoad(out, "loadFloatAVX2", 4, func(row, r string) {
		out.op("VMOVUPS", row, r)
		out.op("VSUBPS", "Y12", r, r)
	})
}

// assemblyScatter writes the way of transformed rows into the strips, with the separation of the even from
// the odd samples' transforms, or without.
func assemblyScatter(out *text, name string, untangle bool) {
	frame, args := 0, 64
	if untangle {
		frame, args = 256+32, 96
		out.line("\n// func %s(dst, src []float32, stride, blocks int, tw []float32, half int)", name)
	} else {
		out.line("\n// func %s(dst, src []float32, stride, blocks int)", name)
	}
	out.line("TEXT ·%s(SB), NOSPLIT, $%d-%d", name, frame, args)
	out.argument("dst_base", 0, "DI")
	out.argument("src_base", 24, "SI")
	out.argument("stride", 48, "BX")
	out.argument("blocks", 56, "CX")
	out.op("SHLQ", "$2", "BX")
	out.op("ADDQ", "$512", "SI") // the guard lines
	if untangle {
		out.argument("tw_base", 64, "DX")
		out.argument("half", 88, "R8")
		out.op("SHLQ", "$6", "R8")
		out.op("ADDQ", "SI", "R8")
		out.op("LEAQ", "31(SP)", "AX")
		out.op("ANDQ", "$~31", "AX")
	}
	out.label("loop")
	if untangle {
		for i := range 8 {
			up, down := 64*i, -64*i
			out.op("VMOVUPS", fmt.Sprintf("%d(SI)", up), "Y8")
			out.op("VMOVUPS", fmt.Sprintf("%d(SI)", up+32), "Y9")
			out.op("VMOVUPS", fmt.Sprintf("%d(R8)", down), "Y13")
			out.op("VMOVUPS", fmt.Sprintf("%d(R8)", down+32), "Y14")
			out.op("VADDPS", "Y13", "Y8", y(i))
			out.op("VSUBPS", "Y13", "Y8", "Y8")
			out.op("VSUBPS", "Y14", "Y9", "Y12")
			out.op("VADDPS", "Y14", "Y9", "Y9")
			out.op("VBROADCASTSS", fmt.Sprintf("%d(DX)", 8*i), "Y10")
			out.op("VBROADCASTSS", fmt.Sprintf("%d(DX)", 8*i+4), "Y11")
			out.op("VFMADD231PS", "Y8", "Y10", y(i))
			out.op("VFNMADD231PS", "Y9", "Y11", y(i))
			out.op("VFMADD231PS", "Y9", "Y10", "Y12")
			out.op("VFMADD231PS", "Y8", "Y11", "Y12")
			out.op("VMOVUPS", "Y12", spill(i))
		}
	}
	for half := range 2 {
		for i := range 8 {
			switch {
			case !untangle:
				out.op("VMOVUPS", fmt.Sprintf("%d(SI)", 64*i+32*half), y(i))
			case half == 1:
				out.op("VMOVUPS", spill(i), y(i))
			}
		}
		for i, r := range transpose(out, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, 8) {
			out.op("VMOVUPS", y(r), fmt.Sprintf("%d(DI)", 64*i+32*half))
		}
	}
	out.op("ADDQ", "$512", "SI")
	out.op("ADDQ", "BX", "DI")
	if untangle {
		out.op("SUBQ", "$512", "R8")
		out.op("ADDQ", "$64", "DX")
	}
	out.op("DECQ", "CX")
	out.op("JNZ", "loop")
	out.op("VZEROUPPER")
	out.op("RET")
}

// assemblyInterleave writes lines as complex numbers, eight to a row of dst.
func assemblyInterleave(out *text) {
	out.line("\n// func interleaveAVX2(dst []complex64, src []float32, stride, lines int)")
	out.line("TEXT ·interleaveAVX2(SB), NOSPLIT, $0-64")
	out.argument("dst_base", 0, "DI")
	out.argument("src_base", 24, "SI")
	out.argument("stride", 48, "BX")
	out.argument("lines", 56, "CX")
	out.op("SHLQ", "$3", "BX")
	out.label("loop")
	out.op("VMOVUPS", "(SI)", "Y0")
	out.op("VMOVUPS", "32(SI)", "Y1")
	out.op("VUNPCKLPS", "Y1", "Y0", "Y2")
	out.op("VUNPCKHPS", "Y1", "Y0", "Y3")
	out.op("VPERM2F128", "$0x20", "Y3", "Y2", "Y0")
	out.op("VPERM2F128", "$0x31", "Y3", "Y2", "Y1")
	out.op("VMOVUPS", "Y0", "(DI)")
	out.op("VMOVUPS", "Y1", "32(DI)")
	out.op("ADDQ", "$64", "SI")
	out.op("ADDQ", "BX", "DI")
	out.op("DECQ", "CX")
	out.op("JNZ", "loop")
	out.op("VZEROUPPER")
	out.op("RET")
}

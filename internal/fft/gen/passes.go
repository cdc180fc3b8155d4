package main

import (
	"fmt"
	"math"
	"strconv"
)

// group is how many inputs of a butterfly share a pointer: x86 addresses have no other multiples of a
// register than 0, 1, 2 and, with a register of its own, 3.
const group = 4

var (
	sources = []string{"SI", "R10", "R11", "R12"}
	targets = []string{"DI", "R13", "R14", "R15"}
)

// at is the address of a line's half: line k of a stride, whose triple is in another register.
func at(pointers []string, stride, triple string, index int) string {
	k, half := index/2, 32*(index%2)
	p := pointers[k/group]
	switch k % group {
	case 0:
		return fmt.Sprintf("%d(%s)", half, p)
	case 3:
		return fmt.Sprintf("%d(%s)(%s*1)", half, p, triple)
	default:
		return fmt.Sprintf("%d(%s)(%s*%d)", half, p, stride, k%group)
	}
}

// constants are the numbers that the code multiplies with, each eight times in a row.
type constants struct {
	names map[uint32]string
	data  text
}

func (c *constants) operand(v float64) string {
	bits := math.Float32bits(float32(v))
	name, ok := c.names[bits]
	if !ok {
		name = fmt.Sprintf("fft%08x", bits)
		c.names[bits] = name
		for i := range 4 {
			c.data.line("DATA %s<>+%d(SB)/8, $0x%08x%08x", name, 8*i, bits, bits)
		}
		c.data.line("GLOBL %s<>(SB), RODATA|NOPTR, $32", name)
	}
	return name + "<>(SB)"
}

func (t *text) argument(name string, offset int, register string) {
	t.op("MOVQ", fmt.Sprintf("%s+%d(FP)", name, offset), register)
}

// assemblyPass writes one pass, func name(dst, src, tw []float32, m, s int).
func assemblyPass(out *text, c *constants, name string, radix int, code []*node, table int) {
	var body text
	m := machine{out: &body, float: c.operand, place: func(n *node) string {
		switch n.kind {
		case load:
			return at(sources, "BX", "CX", n.index)
		case store:
			return at(targets, "R8", "R9", n.index)
		default:
			return fmt.Sprintf("%d(DX)", 4*n.index)
		}
	}}
	slots := m.run(code)
	groups := (radix + group - 1) / group

	// The stack: the counters of p and q, the step from one p to the next, then the slots.
	out.line("\n// func %s(dst, src, tw []float32, m, s int)", name)
	out.line("TEXT ·%s(SB), 0, $%d-88", name, 24+32+32*slots)
	out.line("\tNO_LOCAL_POINTERS")
	out.op("LEAQ", "55(SP)", "AX")
	out.op("ANDQ", "$~31", "AX")
	out.argument("dst_base", 0, "DI")
	out.argument("src_base", 24, "SI")
	out.argument("tw_base", 48, "DX")
	out.argument("m", 72, "BX")
	out.argument("s", 80, "R8")
	out.op("MOVQ", "BX", "0(SP)")
	out.op("SHLQ", "$6", "R8")
	out.op("IMULQ", "R8", "BX")
	out.op("IMUL3Q", "$"+strconv.Itoa(radix-1), "R8", "R9")
	out.op("MOVQ", "R9", "16(SP)")
	out.op("LEAQ", "(BX)(BX*2)", "CX")
	out.op("LEAQ", "(R8)(R8*2)", "R9")
	for i := range groups - 1 {
		out.op("LEAQ", fmt.Sprintf("(%s)(BX*4)", sources[i]), sources[i+1])
		out.op("LEAQ", fmt.Sprintf("(%s)(R8*4)", targets[i]), targets[i+1])
	}
	out.label("next")
	out.op("MOVQ", "R8", "8(SP)")
	out.label("loop")
	out.Write(body.Bytes())
	for i := range groups {
		out.op("ADDQ", "$64", sources[i])
		out.op("ADDQ", "$64", targets[i])
	}
	out.op("SUBQ", "$64", "8(SP)")
	out.op("JNZ", "loop")
	for i := range groups {
		out.op("ADDQ", "16(SP)", targets[i])
	}
	if table > 0 {
		out.op("ADDQ", "$"+strconv.Itoa(4*table), "DX")
	}
	out.op("DECQ", "0(SP)")
	out.op("JNZ", "next")
	out.op("VZEROUPPER")
	out.op("RET")
}

// portablePass writes the same pass in Go.
func portablePass(out *text, name string, radix int, code []*node, table int) {
	out.line("\nfunc %s(dst, src, tw []float32, m, s int) {", name)
	if table > 0 {
		out.line("for p := range m {")
		out.line("w := (*[%d]float32)(tw[%d*p:])", table, table)
		out.line("for q := range s {")
		out.line("in, to := src[%d*(p*s+q):], dst[%d*(%d*p*s+q):]", lineFloats, lineFloats, radix)
	} else {
		out.line("for q := range m * s {")
		out.line("in, to := src[%d*q:], dst[%d*q:]", lineFloats, lineFloats)
	}
	for k := range radix {
		out.line("x%d := (*[%d]float32)(in[%d*m*s*%d:])", k, lineFloats, k, lineFloats)
	}
	for k := range radix {
		out.line("y%d := (*[%d]float32)(to[%d*s*%d:])", k, lineFloats, k, lineFloats)
	}
	out.line("for l := range %d {", lineFloats/2)
	portableCode(out, code)
	out.line("}\n}\n}")
	if table > 0 {
		out.line("}")
	}
}

func portableCode(out *text, code []*node) {
	names := map[*node]string{}
	for i, n := range code {
		element := func(array string) string {
			return fmt.Sprintf("%s%d[l+%d]", array, n.index/2, n.index%2*lineFloats/2)
		}
		if n.kind == twiddle {
			names[n] = fmt.Sprintf("w[%d]", n.index)
			continue
		}
		if n.kind == store {
			out.line("%s = %s", element("y"), names[n.a])
			continue
		}
		names[n] = fmt.Sprintf("t%d", i)
		product := ""
		switch {
		case n.b != nil:
			product = names[n.a] + "*" + names[n.b]
		case n.a != nil:
			product = fmt.Sprintf("%s*%v", names[n.a], n.c)
		}
		text := ""
		switch n.kind {
		case load:
			text = element("x")
		case add:
			text = names[n.a] + "+" + names[n.b]
		case sub:
			text = names[n.a] + "-" + names[n.b]
		case scale, mul:
			text = product
		case madd:
			text = names[n.x] + "+" + product
		case nmadd:
			text = names[n.x] + "-" + product
		case msub:
			text = product + "-" + names[n.x]
		}
		out.line("%s := %s", names[n], text)
	}
}

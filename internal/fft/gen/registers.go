package main

import (
	"fmt"
	"math"
)

// vectorRegisters is how many of the machine's vector registers the code may use.
const vectorRegisters = 16

// machine writes straight-line code for eight numbers at a time. It keeps values in registers; when there
// is none left, it gives up the one whose next use is farthest away (L. Belady, "A study of replacement
// algorithms for a virtual-storage computer", IBM Systems J. 5 (1966)), after it has saved it to the stack unless
// it can be loaded again.
type machine struct {
	out   *text
	place func(n *node) string // the operand of a load, a twiddle or a store
	float func(c float64) string

	now  int
	next map[*node][]int // the places in the code where a node is used
	reg  map[*node]int
	held [vectorRegisters]*node
	slot map[*node]int
	free []int // slots of dead values
	most int   // slots in use at one time
}

// run writes the code, and returns the number of stack slots, 32 bytes each, that it uses.
func (m *machine) run(code []*node) int {
	m.next, m.reg, m.slot = map[*node][]int{}, map[*node]int{}, map[*node]int{}
	for i, n := range code {
		for _, a := range n.args() {
			m.next[a] = append(m.next[a], i)
		}
	}
	for i, n := range code {
		m.now = i
		m.step(n)
	}
	return m.most
}

func (m *machine) step(n *node) {
	switch n.kind {
	case load, twiddle:
		return // when it is used
	case store:
		m.out.op("VMOVUPS", y(m.in(n.a)), m.place(n))
		m.release(n.a)
	case add, sub:
		a, b := m.in(n.a), m.in(n.b, n.a)
		m.release(n.a, n.b)
		d := m.take(n)
		m.out.op(map[kind]string{add: "VADDPS", sub: "VSUBPS"}[n.kind], y(b), y(a), y(d))
	case scale:
		a := m.in(n.a)
		m.release(n.a)
		m.out.op("VMULPS", m.float(n.c), y(a), y(m.take(n)))
	case mul:
		a, b := m.in(n.a), m.in(n.b, n.a)
		m.release(n.a, n.b)
		m.out.op("VMULPS", y(b), y(a), y(m.take(n)))
	default:
		m.fused(n)
	}
}

// fused writes x ± a·b in the form that overwrites an operand that is not needed any more.
func (m *machine) fused(n *node) {
	op := map[kind]string{madd: "VFMADD", nmadd: "VFNMADD", msub: "VFMSUB"}[n.kind]
	a, x := m.in(n.a), m.in(n.x, n.a)
	var factor string
	b := -1
	if n.b == nil {
		factor = m.float(n.c)
	} else {
		b = m.in(n.b, n.a, n.x)
		factor = y(b)
	}
	switch {
	case m.dies(n.x):
		m.release(n.args()...)
		m.put(n, x)
		m.out.op(op+"231PS", factor, y(a), y(x))
	case m.dies(n.a):
		m.release(n.args()...)
		m.put(n, a)
		m.out.op(op+"132PS", factor, y(x), y(a))
	case n.b != nil && m.dies(n.b):
		m.release(n.args()...)
		m.put(n, b)
		m.out.op(op+"132PS", y(a), y(x), y(b))
	default:
		d := m.take(n, n.args()...)
		m.out.op("VMOVAPS", y(x), y(d))
		m.out.op(op+"231PS", factor, y(a), y(d))
	}
}

// in brings a value into a register, without disturbing those of keep.
func (m *machine) in(n *node, keep ...*node) int {
	if r, ok := m.reg[n]; ok {
		return r
	}
	r := m.take(n, keep...)
	switch n.kind {
	case load:
		m.out.op("VMOVUPS", m.place(n), y(r))
	case twiddle:
		m.out.op("VBROADCASTSS", m.place(n), y(r))
	default:
		m.out.op("VMOVUPS", spill(m.slot[n]), y(r))
	}
	return r
}

// take finds a register for n.
func (m *machine) take(n *node, keep ...*node) int {
	best, farthest := -1, -1
	for r, h := range m.held {
		if h == nil {
			m.put(n, r)
			return r
		}
		if contains(keep, h) {
			continue
		}
		at := m.nextUse(h, m.now-1)
		// Of values used equally late those that cost no store go first.
		if at > farthest || at == farthest && m.saved(h) {
			best, farthest = r, at
		}
	}
	if h := m.held[best]; !m.saved(h) {
		m.save(h)
	}
	delete(m.reg, m.held[best])
	m.put(n, best)
	return best
}

// saved says whether a value's register can be given up without storing it.
func (m *machine) saved(n *node) bool {
	_, ok := m.slot[n]
	return ok || n.kind == load || n.kind == twiddle
}

func (m *machine) save(n *node) {
	s := m.most
	if last := len(m.free) - 1; last >= 0 {
		s, m.free = m.free[last], m.free[:last]
	} else {
		m.most++
	}
	m.slot[n] = s
	m.out.op("VMOVUPS", y(m.reg[n]), spill(s))
}

// nextUse is the place of a value's first use after another place.
func (m *machine) nextUse(n *node, after int) int {
	for _, at := range m.next[n] {
		if at > after {
			return at
		}
	}
	return math.MaxInt
}

func (m *machine) dies(n *node) bool { return m.nextUse(n, m.now) == math.MaxInt }

// release gives up the registers and the slots of those values that are not used again.
func (m *machine) release(ns ...*node) {
	for _, n := range ns {
		r, ok := m.reg[n]
		if !ok || !m.dies(n) {
			continue
		}
		m.held[r] = nil
		delete(m.reg, n)
		if s, ok := m.slot[n]; ok {
			m.free = append(m.free, s)
			delete(m.slot, n)
		}
	}
}

func (m *machine) put(n *node, r int) {
	m.held[r] = n
	m.reg[n] = r
}

func contains(ns []*node, n *node) bool {
	for _, m := range ns {
		if m == n {
			return true
		}
	}
	return false
}

func y(r int) string { return fmt.Sprintf("Y%d", r) }

// spill is a stack slot: AX is the stack's first multiple of 32 above the counters.
func spill(s int) string { return fmt.Sprintf("%d(AX)", 32*s) }

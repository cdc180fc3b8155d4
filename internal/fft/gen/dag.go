package main

import "math"

// A kind says what a node computes.
type kind int

const (
	load    kind = iota // an element of the input: index says which
	twiddle             // a number of the twiddle table: index says which
	add                 // a + b
	sub                 // a − b
	neg                 // −a, which disappears into the nodes that use it
	scale               // c·a
	mul                 // a·b
	madd                // a·b + x, or c·a + x where b is nil
	nmadd               // x − a·b, or x − c·a
	msub                // a·b − x, or c·a − x
	store               // an element of the output: index says which
)

// node is one operation on real numbers, of which the machine does eight at a time.
type node struct {
	kind    kind
	a, b, x *node
	c       float64
	index   int
	users   []*node
}

// args are the nodes that n uses.
func (n *node) args() []*node {
	var as []*node
	for _, a := range []*node{n.a, n.b, n.x} {
		if a != nil {
			as = append(as, a)
		}
	}
	return as
}

// key is what a node computes.
type key struct {
	kind    kind
	a, b, x *node
	c       float64
	index   int
}

// graph is straight-line code under construction, in the order in which its nodes were made.
type graph struct {
	nodes []*node
	known map[key]*node
}

func newGraph() *graph { return &graph{known: map[key]*node{}} }

// node makes a node, or finds the one that computes the same.
func (g *graph) node(n node) *node {
	k := key{n.kind, n.a, n.b, n.x, n.c, n.index}
	if same, ok := g.known[k]; ok {
		return same
	}
	made := &n
	g.known[k] = made
	g.nodes = append(g.nodes, made)
	return made
}

func (g *graph) add(a, b *node) *node {
	switch {
	case b.kind == neg:
		return g.sub(a, b.a)
	case a.kind == neg:
		return g.sub(b, a.a)
	}
	return g.node(node{kind: add, a: a, b: b})
}

func (g *graph) sub(a, b *node) *node {
	switch {
	case b.kind == neg:
		return g.add(a, b.a)
	case a.kind == neg:
		return g.neg(g.add(a.a, b))
	}
	return g.node(node{kind: sub, a: a, b: b})
}

func (g *graph) neg(a *node) *node {
	if a.kind == neg {
		return a.a
	}
	return g.node(node{kind: neg, a: a})
}

func (g *graph) scale(c float64, a *node) *node {
	switch {
	case a.kind == neg:
		return g.neg(g.scale(c, a.a))
	case c < 0:
		return g.neg(g.scale(-c, a))
	case c == 1:
		return a
	}
	return g.node(node{kind: scale, a: a, c: c})
}

func (g *graph) mul(a, b *node) *node {
	if a.kind == neg {
		return g.neg(g.mul(a.a, b))
	}
	return g.node(node{kind: mul, a: a, b: b})
}

func (g *graph) load(index int) *node { return g.node(node{kind: load, index: index}) }

func (g *graph) twiddle(index int) *node { return g.node(node{kind: twiddle, index: index}) }

func (g *graph) store(index int, a *node) {
	if a.kind == neg {
		panic("a stored value is negative: nothing has taken up its sign")
	}
	g.node(node{kind: store, a: a, index: index})
}

// value is a complex number in the graph.
type value struct{ re, im *node }

func (g *graph) addC(a, b value) value { return value{g.add(a.re, b.re), g.add(a.im, b.im)} }

func (g *graph) subC(a, b value) value { return value{g.sub(a.re, b.re), g.sub(a.im, b.im)} }

func (g *graph) scaleC(c float64, a value) value { return value{g.scale(c, a.re), g.scale(c, a.im)} }

// overI is −i·a.
func (g *graph) overI(a value) value { return value{a.im, g.neg(a.re)} }

// turn is a·exp(−2πi·num/den).
func (g *graph) turn(a value, num, den int) value {
	num %= den
	switch 8 * num {
	case 0:
		return a
	case den:
		return g.scaleC(math.Sqrt2/2, value{g.add(a.re, a.im), g.sub(a.im, a.re)})
	case 2 * den:
		return g.overI(a)
	case 3 * den:
		return g.scaleC(math.Sqrt2/2, value{g.sub(a.im, a.re), g.neg(g.add(a.re, a.im))})
	case 4 * den:
		return value{g.neg(a.re), g.neg(a.im)}
	}
	sin, cos := math.Sincos(2 * math.Pi * float64(num) / float64(den))
	return value{
		g.add(g.scale(cos, a.re), g.scale(sin, a.im)),
		g.sub(g.scale(cos, a.im), g.scale(sin, a.re)),
	}
}

// mulC is a·w.
func (g *graph) mulC(a, w value) value {
	return value{
		g.sub(g.mul(a.re, w.re), g.mul(a.im, w.im)),
		g.add(g.mul(a.im, w.re), g.mul(a.re, w.im)),
	}
}

// finish fuses products into sums, drops what nothing uses and returns the code in order.
func (g *graph) finish() []*node {
	g.link()
	for _, n := range g.nodes {
		if n.kind == scale || n.kind == mul {
			fuse(n)
		}
	}
	g.link()
	var code []*node
	for _, n := range g.nodes {
		if n.kind == store || len(n.users) > 0 {
			code = append(code, n)
		}
	}
	return code
}

// link finds each node's users, of those that lead to a store.
func (g *graph) link() {
	for _, n := range g.nodes {
		n.users = nil
	}
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		if n.kind == store || len(n.users) > 0 {
			for _, a := range n.args() {
				a.users = append(a.users, n)
			}
		}
	}
}

// fuse makes the users of a product compute it themselves, if all of them are plain sums.
func fuse(p *node) {
	for _, u := range p.users {
		if u.kind != add && u.kind != sub || u.a == u.b {
			return
		}
	}
	for _, u := range p.users {
		fused := *u
		fused.c, fused.a, fused.b = p.c, p.a, p.b
		switch {
		case u.kind == add && u.a == p:
			fused.kind, fused.x = madd, u.b
		case u.kind == add:
			fused.kind, fused.x = madd, u.a
		case u.a == p:
			fused.kind, fused.x = msub, u.b
		default:
			fused.kind, fused.x = nmadd, u.a
		}
		*u = fused
	}
	p.users = nil
}

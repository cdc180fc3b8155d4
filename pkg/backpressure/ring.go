package backpressure

// ring is a double-ended queue in a slice that grows. Its zero value is empty.
type ring[E any] struct {
	slots []E // length zero or a power of two
	head  int // index of the oldest
	n     int
}

func (r *ring[E]) len() int { return r.n }

// push adds e as the newest.
func (r *ring[E]) push(e E) {
	if r.n == len(r.slots) {
		grown := make([]E, max(8, 2*r.n))
		k := copy(grown, r.slots[r.head:])
		copy(grown[k:], r.slots[:r.head])
		r.slots, r.head = grown, 0
	}
	r.slots[(r.head+r.n)&(len(r.slots)-1)] = e
	r.n++
}

// popFront removes the oldest; the ring must not be empty.
func (r *ring[E]) popFront() E { return r.popNext(false) }

// popNext removes the newest or the oldest; the ring must not be empty. The slot is cleared, so that it keeps
// nothing alive.
func (r *ring[E]) popNext(newest bool) E {
	at := r.head
	if newest {
		at = (r.head + r.n - 1) & (len(r.slots) - 1)
	} else {
		r.head = (r.head + 1) & (len(r.slots) - 1)
	}
	r.n--
	e := r.slots[at]
	var zero E
	r.slots[at] = zero
	return e
}

//go:build !race

package entropy

import "testing"

// TestEncodeAllocatesNothing does not run under the race detector, which makes pools forget what they have at random.
func TestEncodeAllocatesNothing(t *testing.T) {
	var e Encoder
	src := gaussian(1<<20, 10)
	dst := make([]byte, 0, MaxEncodedSize(len(src)))
	e.EncodeAll(src, dst)
	if n := testing.AllocsPerRun(20, func() { e.EncodeAll(src, dst) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

//go:build !race

package blosc

import "testing"

// TestEncodeAllocatesNothing does not run under the race detector, which makes pools forget what they have at random.
func TestEncodeAllocatesNothing(t *testing.T) {
	e, src := encoder(t, 2), noise(1<<20)
	dst := make([]byte, 0, e.MaxEncodedSize(len(src)))
	e.EncodeAll(src, dst)
	if n := testing.AllocsPerRun(20, func() { e.EncodeAll(src, dst) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

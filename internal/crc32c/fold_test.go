//go:build amd64

package crc32c

import (
	"hash/crc32"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestFactors computes the constants by division.
func TestFactors(t *testing.T) {
	power := func(n int) uint64 { // x^n modulo the polynomial
		r := uint32(1)
		for range n {
			carry := r >> 31
			r <<= 1
			if carry != 0 {
				r ^= 0x1edc6f41
			}
		}
		return uint64(bits.Reverse32(r)) << 1
	}
	for i, distance := range []int{256, 64, 32, 16} {
		for j, n := range []int{8*distance + 32, 8*distance - 32} {
			if got, want := factors[2*i+j], power(n); got != want {
				t.Errorf("the factor for x^%d is %#x, want %#x", n, got, want)
			}
		}
	}
}

// TestWays compares the ways with and without vector instructions.
func TestWays(t *testing.T) {
	b := make([]byte, 64<<10)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	for n := 512; n <= len(b); n += 256 {
		want := crc32.Update(77, table, b[:n])
		if got := updateAhead(77, b[:n]); got != want {
			t.Errorf("%d bytes, fetched ahead: %08x, want %08x", n, got, want)
		}
		if has512 {
			if got := ^fold512(^uint32(77), &b[0], n, &factors); got != want {
				t.Errorf("%d bytes, folded in 512 bits: %08x, want %08x", n, got, want)
			}
		}
		if has256 {
			if got := ^fold256(^uint32(77), &b[0], n, &factors); got != want {
				t.Errorf("%d bytes, folded in 256 bits: %08x, want %08x", n, got, want)
			}
		}
	}
}

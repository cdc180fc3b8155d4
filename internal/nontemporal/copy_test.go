package nontemporal_test

import (
	"bytes"
	"testing"

	"github.com/sluicedaq/sluice/internal/nontemporal"
)

// TestCopy: at every alignment and around every length at which the way changes, what is copied is right and nothing
// beside it is touched.
func TestCopy(t *testing.T) {
	src := make([]byte, 2048)
	for i := range src {
		src[i] = byte(i*131 + i>>8)
	}
	for n := range 600 {
		for _, at := range []int{0, 1, 31, 32, 63, 64, 127, 128, 129} {
			b := bytes.Repeat([]byte{0xA5}, 1024)
			want := bytes.Clone(b)
			copy(want[at:], src[n%97:][:n])
			nontemporal.Copy(b[at:at+n], src[n%97:][:n])
			if !bytes.Equal(b, want) {
				t.Fatalf("%d bytes at %d", n, at)
			}
		}
	}
}

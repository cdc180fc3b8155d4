package entropy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// gaussian is n bytes of noise around 100.
func gaussian(n int, sigma float64) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(int(100.5 + sigma*r.NormFloat64()))
	}
	return b
}

// geometric is n bytes of which each is half as frequent as the one before: codes as long as can be.
func geometric(n int) []byte {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		for r.Uint32()&1 == 0 {
			b[i]++
		}
	}
	return b
}

func decode(t testing.TB, frame []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(frame, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	var e Encoder
	for _, n := range []int{0, 1, 2, 255, 256, 257, 258, 259, 260, 1000, 4096, blockBytes - 1, blockBytes, blockBytes + 1, blockBytes + 300, 5*blockBytes + 7} {
		uniform := gaussian(n, 1e6)
		for name, src := range map[string][]byte{
			"narrow": gaussian(n, 3), "noise": gaussian(n, 10), "wide": gaussian(n, 50), "uniform": uniform, "geometric": geometric(n),
			"zeros": make([]byte, n), "one of two": bytes.Map(func(r rune) rune { return r & 1 }, bytes.Repeat([]byte{1, 2, 2, 2}, n/4+1))[:n],
		} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				dst := make([]byte, 6, 6+MaxEncodedSize(n))
				got := e.EncodeAll(src, dst)
				if &got[0] != &dst[0] {
					t.Error("it did not fit into MaxEncodedSize")
				}
				if back := decode(t, got[6:]); !bytes.Equal(back, src) {
					t.Error("not the same bytes")
				}
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, sigma := range []float64{3, 10, 50} {
		b.Run(fmt.Sprint(sigma), func(b *testing.B) {
			src := gaussian(4<<20, sigma)
			var e Encoder
			dst := make([]byte, 0, MaxEncodedSize(len(src)))
			b.SetBytes(int64(len(src)))
			var n int
			for b.Loop() {
				n = len(e.EncodeAll(src, dst))
			}
			b.ReportMetric(float64(n)/float64(len(src)), "ratio")
		})
	}
}

// TestCodesAreComplete: whatever the counts, the codes have eleven bits at most and use up all the room that there is.
func TestCodesAreComplete(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	fibonacci := func(i int) uint32 {
		a, b := uint32(1), uint32(1)
		for range min(i, 24) {
			a, b = b, a+b
		}
		return a
	}
	for round := range 3000 {
		var counts [4][256]uint32
		n := 2 + r.IntN(255)
		for i := range n {
			c := uint32(1)
			switch round % 4 {
			case 0:
				c += r.Uint32N(20)
			case 1:
				c = fibonacci(i)
			case 2:
				c = 1 << r.IntN(17)
			case 3:
				c = fibonacci(i / (1 + round%7))
			}
			counts[i%4][r.IntN(256)] += c
		}
		var tab table
		if !tab.build(&counts) {
			continue
		}
		room := 0
		for s, n := range tab.bits {
			occurs := counts[0][s]+counts[1][s]+counts[2][s]+counts[3][s] > 0
			if occurs != (n > 0) || n > maxBits {
				t.Fatalf("byte %d has %d bits, occurs: %t", s, n, occurs)
			}
			if n > 0 {
				room += 1 << (maxBits - n)
			}
		}
		if room != 1<<maxBits {
			t.Fatalf("round %d: the codes take %d of %d", round, room, 1<<maxBits)
		}
	}
}

// TestPlainGo holds the plain form against the one for this processor.
func TestPlainGo(t *testing.T) {
	src := gaussian(50*group, 20)
	var c coder
	c.count(src, (len(src)+3)/4)
	c.table.build(&c.counts)
	code := func(pair func(a, b *stream, code *[256]entry)) ([]byte, []byte, uint64, uint64) {
		x, y := make([]byte, 2*len(src)), make([]byte, 2*len(src))
		a, b := stream{src: src[:25*group], dst: x}, stream{src: src[25*group:], dst: y}
		pair(&a, &b, &c.table.code)
		// What lies behind the whole bytes is of any value.
		return x[:len(x)-len(a.dst)], y[:len(y)-len(b.dst)], a.acc >> (-a.n & 63), b.acc >> (-b.n & 63)
	}
	x, y, p, q := code(codePair)
	x2, y2, p2, q2 := code(codeGroups)
	if !bytes.Equal(x, x2) || !bytes.Equal(y, y2) || p != p2 || q != q2 {
		t.Error("they differ")
	}
}

func TestRepetitive(t *testing.T) {
	const n = 4 * blockBytes
	noise := gaussian(n, 10)
	pixels := make([]byte, n) // of 16 bits: noise, and a constant byte
	for i := 0; i < n; i += 2 {
		pixels[i] = noise[i]
	}
	saturated := bytes.Clone(pixels)
	for i := range n / 8 {
		saturated[n/3+i] = 0xff
	}
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"noise": {noise, false}, "pixels": {pixels, false}, "two values": {geometric(n), false}, "part saturated": {saturated, true},
		"rows alike": {bytes.Repeat(noise[:2048], n/2048), true}, "a long period": {bytes.Repeat(noise[:100_001], 4), true},
		"zeros": {make([]byte, n), true}, "short": {noise[:1000], true},
	} {
		if got := Repetitive(c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(gaussian(5000, 10), uint16(3))
	f.Add([]byte{1, 2}, uint16(300))
	f.Fuzz(func(t *testing.T, part []byte, times uint16) {
		var e Encoder
		src := bytes.Repeat(part, int(times)%20)
		if got := decode(t, e.EncodeAll(src, nil)); !bytes.Equal(got, src) {
			t.Error("not the same bytes")
		}
	})
}

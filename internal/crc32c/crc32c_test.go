package crc32c_test

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/nontemporal"
	"github.com/sluicedaq/sluice/internal/pairs"
)

var table = crc32.MakeTable(crc32.Castagnoli)

// TestSame compares with the standard library, at every alignment and around every length at which the way changes.
func TestSame(t *testing.T) {
	b := make([]byte, 70_000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	lengths := []int{40_960, 65_536, 66_000}
	for n := range 2600 {
		lengths = append(lengths, n)
	}
	for _, n := range []int{4096, 8192} {
		for d := -300; d <= 300; d++ {
			lengths = append(lengths, n+d)
		}
	}
	for _, n := range lengths {
		at := rng.IntN(130)
		crc := rng.Uint32()
		if got, want := crc32c.Update(crc, b[at:at+n]), crc32.Update(crc, table, b[at:at+n]); got != want {
			t.Fatalf("%d bytes at %d from %08x: %08x, want %08x", n, at, crc, got, want)
		}
	}
}

// TestCopy compares with the standard library and copy, at many alignments of both sides and around every length at which
// the way changes; nothing beside the copy is touched.
func TestCopy(t *testing.T) {
	src := make([]byte, 70_000)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	lengths := []int{0, 1, 40_960, 66_000}
	for n := 1000; n < 1700; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		for _, at := range []int{0, 1, 31, 32, 63, 64, 65, rng.IntN(130)} {
			from, crc := rng.IntN(130), rng.Uint32()
			got := bytes.Repeat([]byte{0xA5}, n+256)
			want := bytes.Clone(got)
			copy(want[at:], src[from:from+n])
			sum := crc32c.Copy(crc, got[at:at+n], src[from:from+n])
			if sum != crc32.Update(crc, table, src[from:from+n]) || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from %d to %d: checksum %08x, or another copy", n, from, at, sum)
			}
		}
	}
}

// TestKnown are the examples of RFC 3720, appendix B.4.
func TestKnown(t *testing.T) {
	zeros, ones, up := make([]byte, 32), make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		ones[i], up[i] = 0xff, byte(i)
	}
	for want, b := range map[uint32][]byte{0x8a9136aa: zeros, 0x62a8ab43: ones, 0x46dd794e: up} {
		if got := crc32c.Checksum(b); got != want {
			t.Errorf("%x: %08x, want %08x", b, got, want)
		}
	}
}

func FuzzSame(f *testing.F) {
	f.Add(uint32(0), []byte("sluice"), 300)
	f.Fuzz(func(t *testing.T, crc uint32, b []byte, times int) {
		var long []byte
		for range min(max(times, 0), 1000) {
			long = append(long, b...)
		}
		want := crc32.Update(crc, table, long)
		if got := crc32c.Update(crc, long); got != want {
			t.Fatalf("%d bytes from %08x: %08x, want %08x", len(long), crc, got, want)
		}
		to := make([]byte, len(long))
		if got := crc32c.Copy(crc, to, long); got != want || !bytes.Equal(to, long) {
			t.Fatalf("%d bytes copied from %08x: %08x, want %08x, or another copy", len(long), crc, got, want)
		}
	})
}

// BenchmarkAgainst compares, in pairs, with copying the same memory, which is in no cache, and with the standard library.
func BenchmarkAgainst(b *testing.B) {
	const frame = 8 << 20
	set := make([]byte, 256<<20)
	for i := range set {
		set[i] = byte(i * 7)
	}
	to := make([]byte, frame)
	at := 0
	next := func() []byte {
		at = (at + frame) % len(set)
		return set[at : at+frame]
	}
	var sum uint32
	run := func(name string, ours, other func()) {
		b.Run(name, func(b *testing.B) {
			var m pairs.Meter
			for b.Loop() {
				m.Pair(ours, other)
			}
			r := m.Result()
			b.ReportMetric(r.Ratio, "ratio")
			b.ReportMetric(frame/1e9/r.A, "GB/s")
			b.ReportMetric(frame/1e9/r.B, "other-GB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
	for name, other := range map[string]func(){
		"Copy":     func() { copy(to, next()) },
		"Standard": func() { sum += crc32.Checksum(next(), table) },
	} {
		run(name, func() { sum += crc32c.Checksum(next()) }, other)
	}
	// What a camera does that has its pixels in a cache: copied with the checksum, copied alone, and summed later.
	var parts [][]byte
	for at := 0; at < frame; at += 256 << 10 {
		parts = append(parts, to[:256<<10])
	}
	whole := func(f func(dst, src []byte)) func() {
		return func() {
			dst := next()
			for i, src := range parts {
				f(dst[i*len(src):][:len(src)], src)
			}
		}
	}
	summing := whole(func(dst, src []byte) { sum = crc32c.Copy(sum, dst, src) })
	copying := whole(nontemporal.Copy)
	run("CopyAndSum", summing, copying)
	run("SumLater", summing, func() {
		copying()
		sum += crc32c.Checksum(set[at : at+frame])
	})
}

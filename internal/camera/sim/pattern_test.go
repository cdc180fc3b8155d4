package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func pattern(t testing.TB, uri string) (Pattern, Config) {
	t.Helper()
	s, err := camera.ParseSource(uri)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPattern(c)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

// samples returns the frame's pixels as numbers.
func samples(c Config, b []byte) []uint16 {
	n := make([]uint16, c.Width*c.Height)
	for i := range n {
		if c.Dtype == frames.Uint8 {
			n[i] = uint16(b[i])
		} else {
			n[i] = binary.LittleEndian.Uint16(b[2*i:])
		}
	}
	return n
}

var sizes = []struct{ w, h int }{{1, 1}, {3, 1}, {1, 7}, {17, 13}, {64, 48}, {301, 257}}

// guarded returns a buffer of n bytes with guards around it, and a check that they are untouched.
func guarded(t *testing.T, n int) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xA5}, n+64)
	t.Cleanup(func() {
		for _, g := range [][]byte{b[:32], b[n+32:]} {
			if !bytes.Equal(g, bytes.Repeat([]byte{0xA5}, 32)) {
				t.Error("Fill wrote outside the frame")
			}
		}
	})
	return b[32 : n+32 : n+32]
}

func TestCounter(t *testing.T) {
	for _, size := range sizes {
		for _, dtype := range []string{"uint8", "uint16"} {
			p, c := pattern(t, fmt.Sprintf("sim:?pattern=counter&width=%d&height=%d&dtype=%s", size.w, size.h, dtype))
			for _, seq := range []uint64{0, 1, 2, 500, 65535, 1 << 40} {
				b := guarded(t, c.Geometry().FrameBytes())
				p.Fill(b, seq)
				for i, got := range samples(c, b) {
					y, x := uint64(i/size.w), uint64(i%size.w)
					if want := (seq*131 + y*uint64(size.w) + x) % (1 << (8 * c.Dtype.Size())); uint64(got) != want {
						t.Fatalf("%dx%d %s: pixel(%d,%d,%d) = %d, want %d", size.w, size.h, dtype, seq, y, x, got, want)
					}
				}
			}
		}
	}
}

// TestChecksum: the checksum that is made on the way is that of the pixels, which are the pattern's: of frames that are
// written past the cache and of others, at every place of the table.
func TestChecksum(t *testing.T) {
	for _, size := range append(sizes, struct{ w, h int }{1024, 64}, struct{ w, h int }{1025, 333}) {
		for _, dtype := range []string{"uint8", "uint16"} {
			p, c := pattern(t, fmt.Sprintf("sim:?pattern=counter&width=%d&height=%d&dtype=%s", size.w, size.h, dtype))
			n := c.Geometry().FrameBytes()
			want := make([]byte, n)
			for _, seq := range []uint64{0, 1, 2, 400, 499, 500, 501, 1 << 50} {
				p.Fill(want, seq)
				b := guarded(t, n)
				if got := p.(checksumming).fillChecksum(b, seq); got != crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)) || !bytes.Equal(b, want) {
					t.Fatalf("%dx%d %s frame %d: checksum %08x, or other pixels", size.w, size.h, dtype, seq, got)
				}
			}
		}
	}
}

// TestHash compares with the formula computed word by word, and with the published first outputs of splitmix64
// from state 0 (the generator's n-th output is splitmix64 of n times its increment).
func TestHash(t *testing.T) {
	for i, want := range []uint64{0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC} {
		n := uint64(i)
		if got := splitmix64(n * golden); got != want {
			t.Errorf("splitmix64 output %d = %#x, want %#x", i, got, want)
		}
	}
	for _, size := range sizes {
		for _, dtype := range []string{"uint8", "uint16"} {
			p, c := pattern(t, fmt.Sprintf("sim:?pattern=hash&seed=0xfeedfacecafe&width=%d&height=%d&dtype=%s", size.w, size.h, dtype))
			n := c.Geometry().FrameBytes()
			for _, seq := range []uint64{0, 1, 999, 1 << 50} {
				b := guarded(t, n)
				p.Fill(b, seq)
				var want []byte
				for w := uint64(0); len(want) < n; w++ {
					g, d := uint64(0x9E3779B97F4A7C15), uint64(0xD1B54A32D192ED03)
					z := 0xfeedfacecafe ^ seq*g ^ w*d
					z += g
					z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
					z = (z ^ z>>27) * 0x94D049BB133111EB
					want = binary.LittleEndian.AppendUint64(want, z^z>>31)
				}
				if !bytes.Equal(b, want[:n]) {
					t.Fatalf("%dx%d %s: frame %d differs from the formula", size.w, size.h, dtype, seq)
				}
			}
		}
	}
}

func TestWave(t *testing.T) {
	for _, keys := range []string{
		"hz=37&kx=12&ky=5",
		"hz=37&kx=12&ky=5&dtype=uint8",
		"mean=60000&at=0.3&as=0.4&hz=11.5&kx=3.7&ky=-2.25",     // clipped above
		"mean=200&at=1.3&as=0.5&hz=11.5&kx=0&ky=1&dtype=uint8", // clipped on both sides
		"mean=0",
		"mean=1000&at=0&as=-1",
	} {
		for _, size := range sizes {
			p, c := pattern(t, fmt.Sprintf("sim:?pattern=wave&fps=500&width=%d&height=%d&%s", size.w, size.h, keys))
			for _, seq := range []uint64{0, 1, 77, 123456} {
				b := guarded(t, c.Geometry().FrameBytes())
				p.Fill(b, seq)
				for i, got := range samples(c, b) {
					y, x := float64(i/size.w), float64(i%size.w)
					v := c.Mean * (1 + c.At*math.Sin(2*math.Pi*c.Hz*float64(seq)/c.FPS) +
						c.As*math.Sin(2*math.Pi*(c.KX*x/float64(c.Width)+c.KY*y/float64(c.Height))))
					v = min(max(v, 0), maxValue(c.Dtype))
					// Two ways to compute a sine may fall on different sides of a half.
					if tie := math.Abs(v - math.Floor(v) - 0.5); tie < 1e-6 {
						continue
					}
					if want := math.Round(v); float64(got) != want {
						t.Fatalf("%s %dx%d: pixel(%d,%g,%g) = %d, want %g", keys, size.w, size.h, seq, y, x, got, want)
					}
				}
			}
		}
	}
}

func TestNoise(t *testing.T) {
	for _, dtype := range []string{"uint8", "uint16"} {
		p, c := pattern(t, "sim:?pattern=noise&width=512&height=512&seed=7&dtype="+dtype)
		b := guarded(t, c.Geometry().FrameBytes())
		p.Fill(b, 3)
		px := samples(c, b)
		var sum, squares float64
		for _, v := range px[:512*128] { // above the spot
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		n := float64(512 * 128)
		mean := sum / n
		sigma := math.Sqrt(squares/n - mean*mean)
		if math.Abs(mean-100) > 0.2 || math.Abs(sigma-10) > 0.2 {
			t.Errorf("%s: mean %.3f and σ %.3f, want 100 and 10", dtype, mean, sigma)
		}
		height := 1000.0
		if dtype == "uint8" {
			height = 40
		}
		if got := float64(px[256*512+256]); math.Abs(got-100-height) > 60 {
			t.Errorf("%s: the spot's centre is %g, want about %g", dtype, got, 100+height)
		}
		again := make([]byte, len(b))
		p.Fill(again, 3)
		if !bytes.Equal(b, again) {
			t.Errorf("%s: the same frame twice differs", dtype)
		}
		p.Fill(again, 4)
		if bytes.Equal(b, again) {
			t.Errorf("%s: two frames are the same", dtype)
		}
	}
	for _, size := range sizes {
		p, c := pattern(t, fmt.Sprintf("sim:?pattern=noise&width=%d&height=%d", size.w, size.h))
		p.Fill(guarded(t, c.Geometry().FrameBytes()), 1)
	}
}

// TestNoiseCompresses holds the pattern against noise of the same distribution that is drawn pixel by pixel:
// a compressor must find nothing more in it.
func TestNoiseCompresses(t *testing.T) {
	p, c := pattern(t, "sim:?pattern=noise&width=1024&height=1024&seed=1")
	got := make([]byte, c.Geometry().FrameBytes())
	p.Fill(got, 5)
	// The honest frame: tables as large as the frame, used once.
	want := make([]byte, len(got))
	r := newNoise(c)
	for i := 0; i < len(want); i += 2 {
		// Box–Muller over the same hash that the pattern uses elsewhere.
		h := splitmix64(uint64(i) + 12345)
		u, v := (float64(h>>32)+1)/(1<<32), float64(h&0xffffffff)/(1<<32)
		binary.LittleEndian.PutUint16(want[i:], uint16(math.Round(100+10*math.Sqrt(-2*math.Log(u))*math.Cos(2*math.Pi*v))))
	}
	for y := range r.boxes {
		d := want[(r.top+y)*r.row+r.left:][:r.boxRow]
		sum(d, d, r.spot[y*r.boxRow:(y+1)*r.boxRow])
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	a, b := len(enc.EncodeAll(got, nil)), len(enc.EncodeAll(want, nil))
	ratio := float64(a) / float64(b)
	t.Logf("zstd: pattern %.4f, drawn pixel by pixel %.4f of the size", float64(a)/float64(len(got)), float64(b)/float64(len(want)))
	if ratio < 0.99 || ratio > 1.01 {
		t.Errorf("the pattern compresses to %d bytes, noise drawn pixel by pixel to %d", a, b)
	}
}

func TestFillAllocatesNothing(t *testing.T) {
	for _, name := range []string{Counter, Hash, Wave, Noise} {
		p, c := pattern(t, "sim:?width=65&height=33&pattern="+name)
		b := make([]byte, c.Geometry().FrameBytes())
		if n := testing.AllocsPerRun(100, func() { p.Fill(b, 9) }); n != 0 {
			t.Errorf("%s: %g allocations a frame", name, n)
		}
	}
}

// BenchmarkFill is how fast the patterns are made, in turns with copying as much.
func BenchmarkFill(b *testing.B) {
	for _, name := range []string{Counter, Hash, Wave, Noise} {
		for _, dtype := range []string{"uint8", "uint16"} {
			for _, edge := range []int{512, 2048} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, dtype, edge), func(b *testing.B) {
					p, c := pattern(b, fmt.Sprintf("sim:?pattern=%s&dtype=%s&width=%d&height=%d&fps=500&hz=37&kx=12&ky=5", name, dtype, edge, edge))
					// As in a slab, each frame goes elsewhere, and none is in a cache.
					n := c.Geometry().FrameBytes()
					slots := 128 << 20 / n
					dst, src := make([]byte, slots*n), make([]byte, slots*n)
					var m pairs.Meter
					seq := uint64(0)
					for b.Loop() {
						m.Pair(func() {
							for at := 0; at < len(dst); at += n {
								copy(dst[at:at+n], src[at:])
							}
						}, func() {
							for at := 0; at < len(dst); at += n {
								p.Fill(dst[at:at+n], seq)
								seq++
							}
						})
					}
					r := m.Result()
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(len(dst))/1e9/r.B, "GB/s")
					b.ReportMetric(r.Ratio, "of-memcpy")
				})
			}
		}
	}
}

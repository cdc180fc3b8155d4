package blosc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// noise is what a scientific camera's sensor gives in the dark: 100 ± 10 counts, in n bytes of little-endian uint16.
func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := 0; i+1 < n; i += 2 {
		v := uint16(100.5 + 10*random.NormFloat64())
		b[i], b[i+1] = byte(v), byte(v>>8)
	}
	return b
}

// random is n bytes that nothing shrinks.
func random(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func encoder(t testing.TB, elem int) *Encoder {
	t.Helper()
	e, err := NewEncoder(elem, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func decoder(t testing.TB, limit int) *Decoder {
	t.Helper()
	d, err := NewDecoder(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestRoundTrip(t *testing.T) {
	for _, elem := range []int{1, 2} {
		e := encoder(t, elem)
		for _, n := range []int{0, 2, 62, 64, 126, 128, 130, 1 << 12, BlockBytes - 2, BlockBytes, BlockBytes + 2, 2*BlockBytes + 66, 8 << 20} {
			for name, src := range map[string][]byte{"noise": noise(n), "random": random(n), "zeros": make([]byte, n)} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, elem, n), func(t *testing.T) {
					before := []byte("before")
					chunk := e.EncodeAll(src, bytes.Clone(before))
					if !bytes.HasPrefix(chunk, before) {
						t.Fatal("what was there has changed")
					}
					chunk = chunk[len(before):]
					if len(chunk) > n+headerBytes {
						t.Errorf("%d bytes became %d", n, len(chunk))
					}
					got, err := decoder(t, n).DecodeAll(chunk, bytes.Clone(before))
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, append(before, src...)) {
						t.Error("not the same bytes")
					}
				})
			}
		}
	}
}

// TestRatio holds the size of sensor noise against its entropy: 5.37 bits for σ = 10, of 16.
func TestRatio(t *testing.T) {
	src := noise(8 << 20)
	if n := len(encoder(t, 2).EncodeAll(src, nil)); float64(n) > 0.345*float64(len(src)) {
		t.Errorf("%.4f of the size", float64(n)/float64(len(src)))
	}
}

func TestShuffle(t *testing.T) {
	for n := range 300 {
		src := random(n)
		dst, back := make([]byte, n), make([]byte, n)
		shuffle2(dst, src)
		for i := range n / 2 {
			if dst[i] != src[2*i] || dst[n/2+i] != src[2*i+1] {
				t.Fatalf("%d bytes: element %d", n, i)
			}
		}
		unshuffle2(back, dst)
		if !bytes.Equal(back, src) {
			t.Fatalf("%d bytes do not come back", n)
		}
	}
}

// TestShuffleWords holds the plain form against the one for this processor.
func TestShuffleWords(t *testing.T) {
	src := random(1 << 12)
	want, got, back := make([]byte, len(src)), make([]byte, len(src)), make([]byte, len(src))
	shuffle2(want, src)
	n := len(src) / 2
	if done := shuffleWords(got[:n], got[n:], src); done != n || !bytes.Equal(got, want) {
		t.Errorf("%d of %d elements, the same: %t", done, n, bytes.Equal(got, want))
	}
	if done := unshuffleWords(back, got[:n], got[n:]); done != n || !bytes.Equal(back, src) {
		t.Errorf("back: %d of %d elements, the same: %t", done, n, bytes.Equal(back, src))
	}
}

func TestDamaged(t *testing.T) {
	src := noise(BlockBytes + 1000)
	chunk := encoder(t, 2).EncodeAll(src, nil)
	for name, damage := range map[string]func([]byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"cut header":       func(b []byte) []byte { return b[:15] },
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"longer":           func(b []byte) []byte { return append(b, 0) },
		"version":          func(b []byte) []byte { b[0] = 3; return b },
		"zstd's version":   func(b []byte) []byte { b[1] = 2; return b },
		"reserved flag":    func(b []byte) []byte { b[2] |= 8; return b },
		"bit shuffle":      func(b []byte) []byte { b[2] |= 4; return b },
		"lz4":              func(b []byte) []byte { b[2] = b[2]&^compMask | 1<<5; return b },
		"not split":        func(b []byte) []byte { b[2] |= flagNoSplit; return b },
		"stored":           func(b []byte) []byte { b[2] |= flagStored; return b },
		"element":          func(b []byte) []byte { b[3] = 4; return b },
		"holds more":       func(b []byte) []byte { b[4]++; return b },
		"holds two GB":     func(b []byte) []byte { b[7] = 0x7f; return b },
		"no blocks":        func(b []byte) []byte { clear(b[8:12]); return b },
		"odd blocks":       func(b []byte) []byte { b[8]++; return b },
		"tiny blocks":      func(b []byte) []byte { clear(b[8:12]); b[8] = 2; return b },
		"block beyond":     func(b []byte) []byte { b[19] = 0x7f; return b },
		"block's size":     func(b []byte) []byte { b[headerBytes+8+3] = 0x7f; return b },
		"block's contents": func(b []byte) []byte { clear(b[headerBytes+12 : headerBytes+16]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decoder(t, len(src)).DecodeAll(damage(bytes.Clone(chunk)), nil)
			if !errors.Is(err, ErrCorrupt) || len(got) != 0 {
				t.Errorf("%v, %d bytes", err, len(got))
			}
		})
	}
	if _, err := decoder(t, len(src)-1).DecodeAll(chunk, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("more than the limit: %v", err)
	}
}

func TestElementSize(t *testing.T) {
	if _, err := NewEncoder(4, 1, 1); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(encoder(f, 2).EncodeAll(noise(1000), nil))
	f.Add(encoder(f, 2).EncodeAll(random(1000), nil))
	f.Add(encoder(f, 1).EncodeAll(make([]byte, 300), nil))
	f.Fuzz(func(t *testing.T, chunk []byte) {
		const limit = 1 << 16
		got, err := decoder(t, limit).DecodeAll(chunk, nil)
		if err != nil && !errors.Is(err, ErrCorrupt) || len(got) > limit {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("0123456789"), uint16(100))
	f.Add([]byte{0}, uint16(2))
	f.Fuzz(func(t *testing.T, part []byte, times uint16) {
		src := bytes.Repeat(part, int(times)%1000)
		src = src[:len(src)&^1]
		chunk := encoder(t, 2).EncodeAll(src, nil)
		got, err := decoder(t, len(src)).DecodeAll(chunk, nil)
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%v, the same: %t", err, bytes.Equal(got, src))
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	src := noise(8 << 20)
	e := encoder(b, 2)
	dst := make([]byte, 0, e.MaxEncodedSize(len(src)))
	b.SetBytes(int64(len(src)))
	var n int
	for b.Loop() {
		n = len(e.EncodeAll(src, dst))
	}
	b.ReportMetric(float64(n)/float64(len(src)), "ratio")
}

func BenchmarkDecode(b *testing.B) {
	src := noise(8 << 20)
	chunk := encoder(b, 2).EncodeAll(src, nil)
	d, dst := decoder(b, len(src)), make([]byte, 0, len(src))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := d.DecodeAll(chunk, dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkShuffle(b *testing.B) {
	src := noise(BlockBytes)
	dst := make([]byte, len(src))
	b.Run("best", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			shuffle2(dst, src)
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		n := len(src) / 2
		for b.Loop() {
			shuffleWords(dst[:n], dst[n:], src)
		}
	})
}

// TestNotSplit reads a chunk whose blocks are not split into planes, as c-blosc makes them with zstd.
func TestNotSplit(t *testing.T) {
	src := noise(1000)
	planes := make([]byte, len(src))
	shuffle2(planes, src)
	frame := encoder(t, 2).zstd.EncodeAll(planes, nil)
	h := header{flags: compZstd | flagShuffle | flagNoSplit, elem: 2, length: len(src), block: len(src), size: headerBytes + 4 + sizeBytes + len(frame)}
	chunk := make([]byte, headerBytes)
	h.put(chunk)
	chunk = binary.LittleEndian.AppendUint32(chunk, headerBytes+4)
	chunk = binary.LittleEndian.AppendUint32(chunk, uint32(len(frame)))
	got, err := decoder(t, len(src)).DecodeAll(append(chunk, frame...), nil)
	if err != nil || !bytes.Equal(got, src) {
		t.Errorf("%v, the same: %t", err, bytes.Equal(got, src))
	}
}

// TestCorrelatedPlanes: where neighbours are alike, although nothing repeats over long, a search is worth its time.
func TestCorrelatedPlanes(t *testing.T) {
	src, random := make([]byte, 1<<20), rand.New(rand.NewPCG(9, 9))
	for i := 0; i < len(src); i += 2 {
		binary.LittleEndian.PutUint16(src[i:], uint16(1700+1600*math.Sin(float64(i)/200)+40*random.NormFloat64()))
	}
	if n := len(encoder(t, 2).EncodeAll(src, nil)); float64(n) > 0.63*float64(len(src)) {
		t.Errorf("%.4f of the size", float64(n)/float64(len(src)))
	}
}

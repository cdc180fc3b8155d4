package analysis_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func sampleBatch() analysis.Batch {
	return analysis.Batch{
		Run: frames.RunID{1, 2, 3}, Member: "analyze-1", Rows: 1, Cols: 2, Done: true, Captured: 77,
		Samples: []spectrum.Sample{
			{Seq: 5, DeviceNS: -1, HostNS: 1 << 60, Means: []float64{1.5, 0, 65535}},
			{Seq: 1<<62 - 1, DeviceNS: math.MinInt64, Means: []float64{0.1, 0.2, 0.3}},
		},
	}
}

func TestBatchComesBack(t *testing.T) {
	empty := analysis.Batch{Member: "a", Rows: 32, Cols: 32}
	for _, b := range []analysis.Batch{sampleBatch(), empty} {
		got, err := analysis.DecodeBatch(analysis.AppendBatch(nil, b))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, got); d != "" {
			t.Errorf("-sent +received:\n%s", d)
		}
	}
}

func TestBatchesAreChecked(t *testing.T) {
	good := analysis.AppendBatch(nil, sampleBatch())
	for name, change := range map[string]func([]byte) []byte{
		"short":            func(p []byte) []byte { return p[:63] },
		"cut":              func(p []byte) []byte { return p[:len(p)-1] },
		"magic":            func(p []byte) []byte { p[0]++; return p },
		"flags":            func(p []byte) []byte { p[4] = 2; return p },
		"captured":         func(p []byte) []byte { p[4] = 0; return p },
		"name's length":    func(p []byte) []byte { p[5] = 33; return p },
		"no name":          func(p []byte) []byte { p[5] = 0; return p },
		"name":             func(p []byte) []byte { p[32] = '.'; return p },
		"after the name":   func(p []byte) []byte { p[63] = 'x'; return p },
		"no grid":          func(p []byte) []byte { p[6] = 0; return p },
		"large grid":       func(p []byte) []byte { p[7] = 33; return p },
		"another grid":     func(p []byte) []byte { p[7] = 3; return p },
		"seq":              func(p []byte) []byte { binary.LittleEndian.PutUint64(p[64:], 1<<62); return p },
		"negative mean":    func(p []byte) []byte { p[64+31] = 0xbf; return p },
		"not a number":     func(p []byte) []byte { binary.LittleEndian.PutUint64(p[88:], math.Float64bits(math.NaN())); return p },
		"beyond all pixel": func(p []byte) []byte { binary.LittleEndian.PutUint64(p[88:], math.Float64bits(65536)); return p },
	} {
		if _, err := analysis.DecodeBatch(change(append([]byte(nil), good...))); !errors.Is(err, analysis.ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte{})
	f.Add(analysis.AppendBatch(nil, sampleBatch()))
	f.Add(analysis.AppendBatch(nil, analysis.Batch{Member: "a", Rows: 8, Cols: 8}))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := analysis.DecodeBatch(p)
		if err != nil {
			if !errors.Is(err, analysis.ErrBatch) {
				t.Errorf("%v", err)
			}
			return
		}
		if again := analysis.AppendBatch(nil, b); !bytes.Equal(again, p) {
			t.Errorf("%x becomes %x", p, again)
		}
	})
}

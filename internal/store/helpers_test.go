package store_test

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hash fills b with the pattern "hash" of frame seq.
func hash(b []byte, seed, seq uint64) {
	for w := range uint64(len(b)+7) / 8 {
		z := seed ^ seq*0x9E3779B97F4A7C15 ^ w*0xD1B54A32D192ED03
		z += 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		copy(b[8*w:], word[:])
	}
}

const testSeed = 42

// testSpec is a run of 13 × 11 uint16 frames, four a shard.
func testSpec() run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: "cam0",
		Geometry: frames.Geometry{Height: 13, Width: 11, Channels: 1, Dtype: frames.Uint16},
		FPS:      100, ShardFrames: 4, Store: "a.ome.zarr", Codec: "none", PixelSizeUM: 0.65,
		Meta:   map[string]string{"sample": "µ-beads"},
		Device: run.Device{Model: "sim", SignificantBits: 16, Clock: "host monotonic", Stamps: "start of exposure"},
		Source: "sim:?pattern=hash", Software: "sluice test", Host: "here",
		Started: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func create(t testing.TB, path string, spec run.Spec, opts store.Options) *store.Store {
	t.Helper()
	if opts.Writer == "" {
		opts.Writer = "w0"
	}
	s, err := store.Create(t.Context(), vfs.OS{}, path, spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t testing.TB, s *store.Store, writer string) *store.Store {
	t.Helper()
	o, err := store.Open(t.Context(), vfs.OS{}, s.Path(), s.Spec().Run, store.Options{Writer: writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func take(t testing.TB, s *store.Store, no, epoch uint64) *store.Shard {
	t.Helper()
	sh, err := s.TakeShard(t.Context(), no, epoch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sh.Close() })
	return sh
}

// testFrame makes frame seq; lent memory is aligned and padded as a slab's slot.
func testFrame(spec run.Spec, seq uint64, lent bool) store.Frame {
	n := spec.Geometry.FrameBytes()
	b := make([]byte, n)
	if lent {
		b = vfs.Alloc(int(vfs.Pad(int64(n))))
		for i := range b {
			b[i] = 0xEE // what lies behind a frame in its slot is never seen by a reader
		}
		b = b[:n]
	}
	hash(b, testSeed, seq)
	return store.Frame{Seq: seq, FrameID: seq + 1000, DeviceNS: int64(seq) * 10_000_000, HostNS: 1_700_000_000_000_000_000 + int64(seq), Pixels: b}
}

func commit(t testing.TB, sh *store.Shard, spec run.Spec, seqs ...uint64) {
	t.Helper()
	fs := make([]store.Frame, 0, len(seqs))
	for i, seq := range seqs {
		fs = append(fs, testFrame(spec, seq, i%3 != 2))
	}
	if err := sh.Commit(t.Context(), fs, nil); err != nil {
		t.Fatal(err)
	}
}

func lose(t testing.TB, sh *store.Shard, reason frames.State, seq, count uint64) {
	t.Helper()
	if err := sh.Commit(t.Context(), nil, []frames.Loss{loss(reason, seq, count)}); err != nil {
		t.Fatal(err)
	}
}

func loss(reason frames.State, seq, count uint64) frames.Loss {
	return frames.Loss{
		Seq: seq, Count: count, FirstFrameID: seq + 1000, LastFrameID: seq + 999 + count,
		FirstNS: 5, LastNS: 6, Reason: reason, Stage: frames.AtAcquire,
	}
}

func sealTo(t testing.TB, sh *store.Shard, end uint64) {
	t.Helper()
	if err := sh.Seal(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func finish(t testing.TB, s *store.Store, captured uint64) run.Summary {
	t.Helper()
	sum, err := s.Finish(t.Context(), captured, run.Summary{EndedBy: run.EndedFrames})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// checkFrames reads frames [0, n) back; a lost one is zeros.
func checkFrames(t testing.TB, path string, n uint64, lost map[uint64]frames.State) {
	t.Helper()
	r, err := store.OpenReader(vfs.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Len() != n {
		t.Fatalf("the store has %d frames, want %d", r.Len(), n)
	}
	want := make([]byte, r.Attributes().Geometry.FrameBytes())
	for seq := range n {
		row, err := r.Row(seq)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Frame(nil, seq)
		if err != nil {
			t.Fatal(err)
		}
		clear(want)
		wantRow := store.Row{State: lost[seq]}
		if wantRow.State == frames.Absent {
			hash(want, testSeed, seq)
			wantRow = store.Row{
				State: frames.Durable, FrameID: seq + 1000, DeviceNS: int64(seq) * 10_000_000,
				HostNS: 1_700_000_000_000_000_000 + int64(seq), CRC: row.CRC,
			}
		}
		if row != wantRow {
			t.Errorf("frame %d: columns %+v, want %+v", seq, row, wantRow)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d has other bytes than were written", seq)
		}
	}
}

func verify(t testing.TB, path string) store.Report {
	t.Helper()
	r, err := store.Verify(t.Context(), vfs.OS{}, path, store.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func storePath(t testing.TB) string { return filepath.Join(t.TempDir(), "a.ome.zarr") }

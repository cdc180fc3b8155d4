package store_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestRoundTrip writes runs of every kind and reads back each byte, with a lost frame and a partial last shard.
func TestRoundTrip(t *testing.T) {
	geometries := []frames.Geometry{
		{Height: 1, Width: 1, Channels: 1, Dtype: frames.Uint8},
		{Height: 1, Width: 1, Channels: 3, Dtype: frames.Uint16},
		{Height: 13, Width: 11, Channels: 1, Dtype: frames.Uint16},
		{Height: 17, Width: 31, Channels: 3, Dtype: frames.Uint8},
		{Height: 64, Width: 64, Channels: 1, Dtype: frames.Uint8},    // exactly one block
		{Height: 251, Width: 257, Channels: 1, Dtype: frames.Uint16}, // padded by less than 5 %
		{Height: 512, Width: 512, Channels: 1, Dtype: frames.Uint16},
		{Height: 1031, Width: 1033, Channels: 3, Dtype: frames.Uint8}, // larger than a staging buffer
	}
	for _, g := range geometries {
		for _, codec := range []string{"none", "zstd", "blosc-zstd"} {
			t.Run(fmt.Sprint(g, " ", codec), func(t *testing.T) {
				spec := testSpec()
				spec.Geometry, spec.Codec = g, codec
				if codec != "none" {
					spec.Level = 1
				}
				path := storePath(t)
				s := create(t, path, spec, store.Options{})
				const captured = 10 // shards of 4, 4 and 2
				for no := range uint64(3) {
					sh := take(t, s, no, no+1)
					end := min(captured, 4*no+4)
					if no == 1 {
						lose(t, sh, frames.Dropped, 5, 2)
						commit(t, sh, spec, 7)
						commit(t, sh, spec, 4)
					} else {
						var seqs []uint64
						for seq := 4 * no; seq < end; seq++ {
							seqs = append(seqs, seq)
						}
						commit(t, sh, spec, seqs...)
					}
					if n := sh.Missing(end); n != 0 {
						t.Fatalf("shard %d misses %d frames", no, n)
					}
					sealTo(t, sh, end)
					if n, err := s.ReadableUntil(); err != nil || n != end {
						t.Fatalf("readable until %d, %v: want %d", n, err, end)
					}
				}
				sum := finish(t, s, captured)
				if sum.Written != 8 || sum.Lost != 2 || sum.LostByReason["dropped"] != 2 || sum.Captured != captured {
					t.Errorf("summary %+v", sum)
				}
				if want := 8 * uint64(g.FrameBytes()); sum.Bytes != want || sum.StoredBytes == 0 {
					t.Errorf("%d bytes, %d stored: want %d", sum.Bytes, sum.StoredBytes, want)
				}
				checkFrames(t, path, captured, map[uint64]frames.State{5: frames.Dropped, 6: frames.Dropped})
				if r := verify(t, path); !r.OK || r.Written != 8 || r.Lost != 2 || r.Captured != captured {
					t.Errorf("verify: %+v", r)
				}
				if _, err := os.Stat(filepath.Join(path, ".sluice")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the work folder is still there: %v", err)
				}
			})
		}
	}
}

func TestFullyLostShard(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	lose(t, sh, frames.Paused, 0, 3)
	if err := sh.Seal(t.Context(), 4); !errors.Is(err, store.ErrIncomplete) {
		t.Fatalf("sealing with a frame missing: %v", err)
	}
	lose(t, sh, frames.Missed, 3, 1)
	sealTo(t, sh, 4)
	sh = take(t, s, 1, 2)
	commit(t, sh, spec, 4)
	sealTo(t, sh, 5)
	sum := finish(t, s, 5)
	if sum.Written != 1 || sum.LostByReason["paused"] != 3 || sum.LostByReason["missed"] != 1 {
		t.Errorf("summary %+v", sum)
	}
	if _, err := os.Stat(filepath.Join(path, "0", "c", "0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a shard without frames has a file: %v", err)
	}
	checkFrames(t, path, 5, map[uint64]frames.State{0: frames.Paused, 1: frames.Paused, 2: frames.Paused, 3: frames.Missed})
	if r := verify(t, path); !r.OK || r.Written != 1 || r.Lost != 4 {
		t.Errorf("verify: %+v", r)
	}
}

func TestEmptyRun(t *testing.T) {
	path := storePath(t)
	s := create(t, path, testSpec(), store.Options{})
	if sum := finish(t, s, 0); sum.Captured != 0 || sum.Shape[0] != 0 {
		t.Errorf("summary %+v", sum)
	}
	if r := verify(t, path); !r.OK {
		t.Errorf("verify: %+v", r)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	path := storePath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Create(t.Context(), vfs.OS{}, path, testSpec(), store.Options{Writer: "w0"})
	if !errors.Is(err, store.ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("the refused store left %v", entries)
	}
}

func TestCreateRefusesImpossibleSpecs(t *testing.T) {
	for name, spoil := range map[string]func(*run.Spec){
		"height":       func(s *run.Spec) { s.Geometry.Height = 0 },
		"shard frames": func(s *run.Spec) { s.ShardFrames = 0 },
		"codec":        func(s *run.Spec) { s.Codec = "lzw" },
		"level":        func(s *run.Spec) { s.Codec = "zstd" },
		"run":          func(s *run.Spec) { s.Run = frames.RunID{} },
	} {
		spec := testSpec()
		spoil(&spec)
		if _, err := store.Create(t.Context(), vfs.OS{}, storePath(t), spec, store.Options{}); !errors.Is(err, store.ErrSpec) {
			t.Errorf("%s: got %v, want ErrSpec", name, err)
		}
	}
}

func TestOpenChecks(t *testing.T) {
	s := create(t, storePath(t), testSpec(), store.Options{})
	if _, err := store.Open(t.Context(), vfs.OS{}, s.Path(), frames.NewRunID(), store.Options{}); !errors.Is(err, store.ErrOtherRun) {
		t.Errorf("another run's store: %v", err)
	}
	if _, err := store.Open(t.Context(), vfs.OS{}, t.TempDir(), frames.RunID{}, store.Options{}); !errors.Is(err, store.ErrNotStore) {
		t.Errorf("an empty folder: %v", err)
	}
	got := reopen(t, s, "w1").Spec()
	a, _ := json.Marshal(s.Spec())
	b, _ := json.Marshal(got)
	if !bytes.Equal(a, b) {
		t.Errorf("the spec came back as %s, was %s", b, a)
	}
}

// TestReaderSeesTruePrefix seals shards out of order: what a reader is offered never has a gap.
func TestReaderSeesTruePrefix(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	other := reopen(t, s, "w1")
	for _, step := range []struct {
		by      *store.Store
		no, now uint64
	}{{other, 1, 0}, {s, 3, 0}, {s, 0, 8}, {other, 2, 16}} {
		sh := take(t, step.by, step.no, step.no+1)
		commit(t, sh, spec, 4*step.no, 4*step.no+1)
		commit(t, sh, spec, 4*step.no+2, 4*step.no+3)
		checkPrefix(t, path)
		sealTo(t, sh, 4*step.no+4)
		checkFrames(t, path, step.now, nil)
	}
}

// checkPrefix reads all that a reader is offered.
func checkPrefix(t *testing.T, path string) {
	t.Helper()
	r, err := store.OpenReader(vfs.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checkFrames(t, path, r.Len(), nil)
}

func TestCommitRefuses(t *testing.T) {
	spec := testSpec()
	s := create(t, storePath(t), spec, store.Options{})
	sh := take(t, s, 1, 1)
	commit(t, sh, spec, 4)
	short := testFrame(spec, 5, false)
	short.Pixels = short.Pixels[1:]
	reclaimed := testFrame(spec, 5, false)
	reclaimed.Intact = func() error { return frames.ErrReclaimed }
	for name, c := range map[string]struct {
		frame store.Frame
		want  error
	}{
		"before the shard": {testFrame(spec, 3, true), store.ErrFrame},
		"after the shard":  {testFrame(spec, 8, true), store.ErrFrame},
		"twice":            {testFrame(spec, 4, true), store.ErrFrame},
		"wrong size":       {short, store.ErrFrame},
		"reclaimed":        {reclaimed, frames.ErrReclaimed},
	} {
		if err := sh.Commit(t.Context(), []store.Frame{c.frame}, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := sh.Commit(t.Context(), nil, []frames.Loss{loss(frames.Dropped, 7, 2)}); !errors.Is(err, store.ErrFrame) {
		t.Errorf("a loss over the end: %v", err)
	}
	// None of it has harmed the shard.
	commit(t, sh, spec, 5, 6, 7)
	if n := sh.Missing(8); n != 0 {
		t.Errorf("%d frames are missing", n)
	}
}

func TestDurableWinsOverLoss(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	lose(t, sh, frames.Unwritten, 0, 2)
	commit(t, sh, spec, 1, 2, 3)
	lose(t, sh, frames.Dropped, 3, 1)
	sealTo(t, sh, 4)
	finish(t, s, 4)
	checkFrames(t, path, 4, map[uint64]frames.State{0: frames.Unwritten})
	if r := verify(t, path); !r.OK || r.Written != 3 || r.Lost != 1 {
		t.Errorf("verify: %+v", r)
	}
}

func TestFinishNeedsEveryShard(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	commit(t, sh, spec, 0, 1)
	sealTo(t, sh, 2)
	for _, captured := range []uint64{3, 5} {
		if _, err := s.Finish(t.Context(), captured, run.Summary{}); !errors.Is(err, store.ErrIncomplete) {
			t.Errorf("finishing at %d: %v", captured, err)
		}
	}
	first := finish(t, s, 2)
	again, err := reopen(t, s, "w9").Finish(t.Context(), 2, run.Summary{EndedBy: "nobody asks"})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(first)
	b, _ := json.Marshal(again)
	if !bytes.Equal(a, b) {
		t.Errorf("the second finish says %s, the first %s", b, a)
	}
	if _, err := s.TakeShard(t.Context(), 7, 99); !errors.Is(err, store.ErrFinished) {
		t.Errorf("taking a shard of a finished store: %v", err)
	}
}

func TestEvents(t *testing.T) {
	path := storePath(t)
	s := create(t, path, testSpec(), store.Options{})
	for i := range 3 {
		if err := s.AppendEvent(fmt.Appendf(nil, "{\n \"n\": %d}", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AppendEvent([]byte("{")); err == nil {
		t.Error("an event that is not JSON was taken")
	}
	finish(t, s, 0)
	if err := s.AppendEvent([]byte(`{"n":3}`)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(path, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); n++ {
		var e struct{ N int }
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil || e.N != n {
			t.Errorf("line %d is %q: %v", n, sc.Text(), err)
		}
	}
	if n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

func TestLedgerJoinsAndSurvivesTornTail(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	err := sh.Commit(t.Context(), nil, []frames.Loss{loss(frames.Dropped, 1, 1), loss(frames.Dropped, 0, 1), loss(frames.Paused, 2, 1)})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path, "ledger", "w0.jsonl")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, b)
	}
	// A crash tears the next line; the writer starts again under its name.
	if err := os.WriteFile(name, append(b, []byte(`{"v":1,"seq":3,"cou`)...), 0o600); err != nil {
		t.Fatal(err)
	}
	again := reopen(t, s, "w0")
	sh = take(t, again, 0, 2)
	if n := sh.Missing(4); n != 1 {
		t.Fatalf("%d frames are missing, want 1", n)
	}
	lose(t, sh, frames.Missed, 3, 1)
	sealTo(t, sh, 4)
	finish(t, again, 4)
	if r := verify(t, path); !r.OK || r.Lost != 4 {
		t.Errorf("verify: %+v", r)
	}
}

func TestDefaultShardFrames(t *testing.T) {
	for _, c := range []struct {
		frame   int
		budget  int64
		writers int
		want    uint64
	}{
		{8 << 20, 1 << 40, 1, 64},     // 512 MiB a shard
		{8 << 20, 256 << 20, 2, 32},   // 2 × budget / writers
		{8 << 20, 16 << 20, 8, 1},     // at least one
		{1, 256 << 20, 1, 4096},       // at most 4096
		{256 << 10, 64 << 20, 0, 512}, // no writers count as one
	} {
		if got := store.DefaultShardFrames(c.frame, c.budget, c.writers); got != c.want {
			t.Errorf("DefaultShardFrames(%d, %d, %d) = %d, want %d", c.frame, c.budget, c.writers, got, c.want)
		}
	}
}

// TestFinishWhileOneOpens: a writer that opens the store while its work folder is removed puts a file into it. The store is
// finished all the same, and the folder goes.
func TestFinishWhileOneOpens(t *testing.T) {
	spec := testSpec()
	path := filepath.Join(t.TempDir(), spec.Store)
	comes := 3
	fs := vfs.NewFault(vfs.OS{}, 0, func(op vfs.Op) vfs.Injection {
		if op.Name == "remove" && filepath.Base(filepath.Dir(op.Path)) == ".sluice" && comes > 0 { // what the folder has was listed
			comes--
			if err := os.WriteFile(filepath.Join(filepath.Dir(op.Path), fmt.Sprintf("late-%d", comes)), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		return vfs.Pass
	})
	s, err := store.Create(t.Context(), fs, path, spec, store.Options{Writer: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sh := take(t, s, 0, 1)
	commit(t, sh, spec, 0, 1, 2, 3)
	sealTo(t, sh, 4)
	comes = 3
	finish(t, s, 4)
	if comes != 0 {
		t.Errorf("%d more should have come", comes)
	}
	if _, err := os.Stat(filepath.Join(path, ".sluice")); !os.IsNotExist(err) {
		t.Errorf("the work folder: %v", err)
	}
	checkFrames(t, path, 4, nil)
}

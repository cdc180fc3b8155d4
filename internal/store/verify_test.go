package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// finished writes a complete store: shard 0 with frames 0, 1 and 3, where 2 was dropped, and frame 4 in shard 1.
func finished(t *testing.T) string {
	t.Helper()
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	commit(t, sh, spec, 0, 1, 3)
	lose(t, sh, frames.Dropped, 2, 1)
	sealTo(t, sh, 4)
	sh = take(t, s, 1, 2)
	commit(t, sh, spec, 4)
	sealTo(t, sh, 5)
	finish(t, s, 5)
	return path
}

func TestVerifyFindsDamage(t *testing.T) {
	shard0 := filepath.Join("0", "c", "0", "0", "0")
	for name, c := range map[string]struct {
		damage           func(t *testing.T, path string)
		corrupt, missing uint64
		bad              []store.BadRange
		problems         int
	}{
		"nothing": {damage: func(*testing.T, string) {}},
		"a byte of a chunk": {
			damage:  func(t *testing.T, path string) { flip(t, filepath.Join(path, shard0), 286+5) },
			corrupt: 1, bad: []store.BadRange{{Seq: 1, Count: 1, What: "the chunk's crc32c is wrong", File: shard0, Offset: 286, Bytes: 286}},
		},
		"the index": {
			damage: func(t *testing.T, path string) {
				info, err := os.Stat(filepath.Join(path, shard0))
				if err != nil {
					t.Fatal(err)
				}
				flip(t, filepath.Join(path, shard0), info.Size()-20)
			},
			corrupt: 3, problems: 1,
			bad: []store.BadRange{{Seq: 0, Count: 2, What: "the shard's index does not hold", File: shard0}, {Seq: 3, Count: 1, What: "the shard's index does not hold", File: shard0}},
		},
		"the shard is gone": {
			damage:  func(t *testing.T, path string) { remove(t, path, shard0) },
			corrupt: 3,
			bad:     []store.BadRange{{Seq: 0, Count: 2, What: "the shard's file is not there", File: shard0}, {Seq: 3, Count: 1, What: "the shard's file is not there", File: shard0}},
		},
		"the ledger is gone": {
			damage:  func(t *testing.T, path string) { remove(t, path, "ledger", "w0.jsonl") },
			missing: 1, problems: 2, // its checksum, and the summary counts one more
			bad: []store.BadRange{{Seq: 2, Count: 1, What: "dropped by its state, not in a ledger"}},
		},
		"a state": {
			damage:  func(t *testing.T, path string) { flip(t, filepath.Join(path, "frames", "state", "c", "0"), 3) },
			corrupt: 1, problems: 1, bad: []store.BadRange{{Seq: 3, Count: 1, What: "an unknown state"}},
		},
		"the states are gone": {
			damage:  func(t *testing.T, path string) { remove(t, path, "frames", "state", "c", "1") },
			missing: 1, problems: 1, // the summary
			bad: []store.BadRange{{Seq: 4, Count: 1, What: "the store has no shard for it"}},
		},
		"a checksum": {
			damage:  func(t *testing.T, path string) { flip(t, filepath.Join(path, "frames", "crc32c", "c", "0"), 0) },
			corrupt: 1, problems: 1, bad: []store.BadRange{{Seq: 0, Count: 1, What: "the chunk's crc32c is wrong", File: shard0, Bytes: 286}},
		},
		"a column is gone": {
			damage:   func(t *testing.T, path string) { remove(t, path, "frames", "frame_id", "c", "0") },
			problems: 1, bad: []store.BadRange{},
		},
		"a length": {
			damage: func(t *testing.T, path string) {
				a, err := os.ReadFile(filepath.Join(path, "frames", "state", "zarr.json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(path, "frames", "crc32c", "zarr.json"), a[:len(a)/2], 0o600); err != nil {
					t.Fatal(err)
				}
			},
			problems: 1, bad: []store.BadRange{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := finished(t)
			c.damage(t, path)
			r := verify(t, path)
			if ok := name == "nothing"; r.OK != ok {
				t.Errorf("ok is %t", r.OK)
			}
			if r.Corrupt != c.corrupt || r.Missing != c.missing || r.Captured != 5 || r.Written+r.Lost+r.Corrupt+r.Missing != 5 {
				t.Errorf("got %+v, want %d corrupt and %d missing", r, c.corrupt, c.missing)
			}
			for i, b := range r.Bad {
				if (b.Want == b.Found) != (b.Bytes == 0) {
					t.Errorf("frame %d: want %s, found %s", b.Seq, b.Want, b.Found)
				}
				r.Bad[i].Want, r.Bad[i].Found = "", ""
			}
			if !slices.Equal(r.Bad, c.bad) {
				t.Errorf("bad frames %v, want %v", r.Bad, c.bad)
			}
			if len(r.Problems) != c.problems {
				t.Errorf("problems %q, want %d", r.Problems, c.problems)
			}
		})
	}
}

func remove(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(elem...)); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyUnfinished(t *testing.T) {
	spec := testSpec()
	path := storePath(t)
	s := create(t, path, spec, store.Options{})
	sh := take(t, s, 0, 1)
	commit(t, sh, spec, 0, 1, 2, 3)
	sealTo(t, sh, 4)
	sh = take(t, s, 1, 2)
	commit(t, sh, spec, 4, 6)
	lose(t, sh, frames.Dropped, 5, 1)
	s.NoteCaptured(9)
	commit(t, sh, spec, 7)
	r := verify(t, path)
	if r.OK || r.Finished || r.Captured != 9 || r.Written != 4 || r.Recoverable != 3 || r.Lost != 1 || r.Missing != 1 {
		t.Errorf("got %+v", r)
	}
	want := []store.BadRange{
		{Seq: 4, Count: 1, What: "durable in a shard that is not sealed"},
		{Seq: 6, Count: 2, What: "durable in a shard that is not sealed"},
		{Seq: 8, Count: 1, What: "neither durable nor in a ledger"},
	}
	if !slices.Equal(r.Bad, want) {
		t.Errorf("bad frames %v, want %v", r.Bad, want)
	}
}

func TestVerifyProgress(t *testing.T) {
	path := finished(t)
	var last atomic.Uint64
	_, err := store.Verify(t.Context(), vfs.OS{}, path, store.VerifyOptions{Parallel: 1, Progress: func(done, total uint64) {
		last.Store(done)
		if total != 5 {
			t.Error(fmt.Errorf("total is %d", total))
		}
	}})
	if err != nil || last.Load() != 5 {
		t.Errorf("progress ended at %d, %v", last.Load(), err)
	}
	if _, err := store.Verify(t.Context(), vfs.OS{}, t.TempDir(), store.VerifyOptions{}); err == nil {
		t.Error("a folder that is no store was verified")
	}
}

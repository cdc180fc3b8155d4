package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// TestVerifyFindsEveryFlippedBit flips a bit at places all over a finished store, of every file. verify finds each,
// unless it lies in the unused space of a shard, where it must find nothing.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	const perFile = 25
	for name, spec := range sweepSpecs() {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(t)
			if err := wholeRun(t, disk, spec); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			flips, unused := map[string]int{}, 0
			for _, file := range memFiles(t, disk, sweepPath) {
				b := readMem(t, disk, file)
				rel, err := filepath.Rel(sweepPath, file)
				if err != nil {
					t.Fatal(err)
				}
				used := make([]bool, len(b))
				shard := strings.HasPrefix(rel, "0/c/")
				for i := range used {
					used[i] = !shard
				}
				if shard {
					markUsed(b, used, spec.ShardFrames)
				}
				for i := range 2 * perFile {
					at, bit := rng.IntN(len(b)), byte(1)<<rng.IntN(8)
					if i%2 == 0 && !used[at] {
						continue // unused space is looked at half as often
					}
					damaged := slices.Clone(b)
					damaged[at] ^= bit
					writeMem(t, disk, file, damaged)
					r, err := store.Verify(t.Context(), disk, sweepPath, store.VerifyOptions{Parallel: 1})
					if used[at] && err == nil && r.OK {
						t.Fatalf("bit %#x of byte %d of %s was flipped, and verify finds nothing", bit, at, rel)
					}
					if !used[at] {
						if err != nil || !r.OK {
							t.Fatalf("byte %d of %s means nothing, and verify found %+v, %v", at, rel, r, err)
						}
						unused++
						continue
					}
					flips[kindOf(rel)]++
				}
				writeMem(t, disk, file, b)
			}
			if r, err := store.Verify(t.Context(), disk, sweepPath, store.VerifyOptions{}); err != nil || !r.OK {
				t.Fatalf("the store as it was: %+v, %v", r, err)
			}
			t.Logf("flipped bits found: %v; in unused space: %d", flips, unused)
		})
	}
}

// kindOf is what kind of file a path is.
func kindOf(rel string) string {
	switch {
	case strings.HasPrefix(rel, "0/c/"):
		return "shards"
	case strings.Contains(rel, "/c/"):
		return "columns"
	case strings.HasSuffix(rel, "zarr.json"):
		return "metadata"
	case strings.HasPrefix(rel, "ledger/"):
		return "ledgers"
	}
	return "events, results, checksums"
}

// wholeRun writes the sweep's run, with events and results.
func wholeRun(t *testing.T, disk *vfs.Mem, spec run.Spec) error {
	t.Helper()
	s, err := store.Create(t.Context(), disk, sweepPath, spec, store.Options{Writer: "extra", Encoders: 1})
	if err != nil {
		return err
	}
	err = errors.Join(s.AppendEvent([]byte(`{"type":"armed"}`)), s.AppendResult(store.Spatial, []byte(`{"seq":"1"}`), true))
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	w := newSweep(t.Context(), disk, spec)
	return w.run()
}

// markUsed marks the chunks and the index of a shard's file, by the index.
func markUsed(b []byte, used []bool, k uint64) {
	index := len(b) - int(16*k+4)
	for i := index; i < len(b); i++ {
		used[i] = true
	}
	word := func(at int) uint64 {
		v := uint64(0)
		for i := range 8 {
			v |= uint64(b[at+i]) << (8 * i)
		}
		return v
	}
	for i := range int(k) {
		off, n := word(index+16*i), word(index+16*i+8)
		for at := off; off != 1<<64-1 && at < off+n; at++ {
			used[at] = true
		}
	}
}

func memFiles(t *testing.T, disk *vfs.Mem, dir string) []string {
	t.Helper()
	entries, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			files = append(files, memFiles(t, disk, path)...)
		} else {
			files = append(files, path)
		}
	}
	return files
}

func readMem(t *testing.T, disk *vfs.Mem, path string) []byte {
	t.Helper()
	f, err := disk.OpenFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	b := make([]byte, n)
	if err == nil {
		_, err = f.ReadAt(b, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeMem replaces a file's content, and the disk has it.
func writeMem(t *testing.T, disk *vfs.Mem, path string, b []byte) {
	t.Helper()
	f, err := disk.OpenFile(path, vfs.Write|vfs.Clear)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyFindsWrongFiles has shards that are whole, and not where they belong.
func TestVerifyFindsWrongFiles(t *testing.T) {
	shard := func(no int) string { return filepath.Join("0", "c", fmt.Sprint(no), "0", "0") }
	move := func(t *testing.T, from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	two := func(t *testing.T) string {
		t.Helper()
		spec, path := testSpec(), storePath(t)
		s := create(t, path, spec, store.Options{})
		for no := range uint64(2) {
			sh := take(t, s, no, no+1)
			commit(t, sh, spec, 4*no, 4*no+1, 4*no+2, 4*no+3)
			sealTo(t, sh, 4*no+4)
		}
		finish(t, s, 8)
		return path
	}
	for name, damage := range map[string]func(*testing.T, string){
		"swapped shards": func(t *testing.T, path string) {
			a, b, c := filepath.Join(path, shard(0)), filepath.Join(path, shard(1)), filepath.Join(path, "c")
			if err := errors.Join(os.Rename(a, c), os.Rename(b, a), os.Rename(c, b)); err != nil {
				t.Fatal(err)
			}
		},
		"a shard twice": func(t *testing.T, path string) { move(t, filepath.Join(path, shard(0)), filepath.Join(path, shard(1))) },
		"a shard of another run": func(t *testing.T, path string) {
			move(t, filepath.Join(finished(t), shard(0)), filepath.Join(path, shard(0)))
		},
		"a shard too many": func(t *testing.T, path string) { move(t, filepath.Join(path, shard(0)), filepath.Join(path, shard(2))) },
		"a column too many": func(t *testing.T, path string) {
			move(t, filepath.Join(path, "frames", "state", "c", "1"), filepath.Join(path, "frames", "state", "c", "2"))
		},
		"a shard is cut": func(t *testing.T, path string) {
			if err := os.Truncate(filepath.Join(path, shard(1)), 1000); err != nil {
				t.Fatal(err)
			}
		},
		"a hole": func(t *testing.T, path string) {
			f, err := os.OpenFile(filepath.Join(path, shard(1)), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			const keepSize, punchHole = 1, 2 // FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
			if err := errors.Join(syscall.Fallocate(int(f.Fd()), keepSize|punchHole, 300, 20), f.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"results are gone": func(t *testing.T, path string) { remove(t, path, "events.jsonl") },
	} {
		t.Run(name, func(t *testing.T) {
			path := two(t)
			if r := verify(t, path); !r.OK {
				t.Fatalf("verify before: %+v", r)
			}
			if name == "results are gone" {
				path = withEvent(t)
			}
			damage(t, path)
			r := verify(t, path)
			if r.OK {
				t.Errorf("verify finds nothing: %+v", r)
			}
			t.Log(r.Bad, r.Problems)
		})
	}
}

// withEvent is a finished store with an event.
func withEvent(t *testing.T) string {
	t.Helper()
	path := storePath(t)
	s := create(t, path, testSpec(), store.Options{})
	if err := s.AppendEvent([]byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	finish(t, s, 0)
	return path
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/exit"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// leftBehind is a run whose processes were killed: frame 0 is durable, 1 is in the slab alone, the loss of 2 waits there.
func leftBehind(t *testing.T) (path string, held *store.Store, s *slab.Slab) {
	t.Helper()
	spec := runpkg.Spec{
		Run: frames.NewRunID(), Camera: "recovertest", ShardFrames: 4, Store: "a.ome.zarr", Codec: "none", Started: time.Now(),
		Geometry: frames.Geometry{Height: 8, Width: 8, Channels: 1, Dtype: frames.Uint8},
	}
	path = filepath.Join(t.TempDir(), spec.Store)
	held, err := store.Create(t.Context(), vfs.OS{}, path, spec, store.Options{Writer: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	sh, err := held.TakeShard(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Commit(t.Context(), []store.Frame{{Seq: 0, Pixels: make([]byte, 64)}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := sh.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = slab.Create(slab.Config{Dir: shmDir, Spec: spec, Slots: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Remove() }) // it is gone, unless the test failed
	slot, _ := s.Take()
	s.Commit(slot, frames.Header{Run: spec.Run, Seq: 1, FrameID: 11, HostNS: 5, Geometry: spec.Geometry}, 1)
	if _, err := s.AddLoss(frames.Loss{Seq: 2, Count: 1, Reason: frames.Dropped, Stage: frames.AtAcquire}); err != nil {
		t.Fatal(err)
	}
	return path, held, s
}

func TestRecover(t *testing.T) {
	path, held, s := leftBehind(t)
	expect := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := sluice(t, append([]string{"recover", path}, args...)...)
		if code != want {
			t.Fatalf("%v: code %d, want %d: %s", args, code, want, stderr)
		}
		return stdout
	}
	if code, _, _ := sluice(t, "verify", path); code != exit.Damaged {
		t.Errorf("verify before: code %d", code)
	}
	expect(exit.Usage) // acquire lives
	expect(exit.Usage, "--discard-slab")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect(exit.Usage)                   // acquire can go on
	expect(exit.Usage, "--discard-slab") // a writer lives
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	var found store.Recovery
	if err := json.Unmarshal([]byte(expect(exit.Lost, "--discard-slab", "--json")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Captured != 3 || found.Written != 1 || found.LostByReason["stopped"] != 1 || found.LostByReason["dropped"] != 1 || found.HostLost != 0 {
		t.Errorf("found %+v", found)
	}
	slabs, err := slab.List(shmDir)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(slabs, func(i slab.Info) bool { return i.Path == s.Path() }) {
		t.Error("the slab is still there")
	}
	if code, _, stderr := sluice(t, "verify", path); code != exit.OK {
		t.Errorf("verify after: code %d, %s", code, stderr)
	}
	expect(exit.Lost) // nothing is to be done, and the answer is the same

	// What a recovery leaves that is killed in its last step goes with the next one.
	again, err := slab.Create(slab.Config{Dir: shmDir, Spec: s.Spec(), Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	expect(exit.Lost)
	if _, err := os.Stat(again.Path()); err != nil {
		t.Error(err)
	}
	expect(exit.Lost, "--discard-slab")
	if _, err := os.Stat(again.Path()); !os.IsNotExist(err) {
		t.Errorf("the slab of a finished store is still there: %v", err)
	}
}

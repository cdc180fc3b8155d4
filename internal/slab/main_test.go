package slab

import (
	"os"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestMain lets the test binary be the process that is killed in TestKilledOwner.
func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		own(dir)
	}
	os.Exit(m.Run())
}

// testSpec describes frames of the given size in bytes, which must be even.
func testSpec(frameBytes int) run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: "cam0", ShardFrames: 16, Store: "s.zarr", Codec: "none",
		Geometry: frames.Geometry{Height: 1, Width: frameBytes / 2, Channels: 1, Dtype: frames.Uint16},
		Meta:     map[string]string{"sample": "α-actinin"},
		Started:  time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
	}
}

func mustCreate(t testing.TB, frameBytes, slots int) *Slab {
	t.Helper()
	return mustCreateIn(t, t.TempDir(), frameBytes, slots)
}

func mustCreateIn(t testing.TB, dir string, frameBytes, slots int) *Slab {
	t.Helper()
	s, err := Create(Config{Dir: dir, Spec: testSpec(frameBytes), Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, s) })
	return s
}

// kill drops a slab as the kernel does when its process is killed: nothing is brought in order.
func kill(t testing.TB, s *Slab) {
	t.Helper()
	if s.mem == nil {
		return
	}
	if err := unmap(s.mem); err != nil {
		t.Fatal(err)
	}
	s.mem, s.table = nil, nil
	s.file.Close()
}

func mustResume(t testing.TB, path string) *Slab {
	t.Helper()
	s, err := Resume(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, s) })
	return s
}

func mustTake(t testing.TB, s *Slab) int {
	t.Helper()
	slot, ok := s.Take()
	if !ok {
		t.Fatal("no slot is free")
	}
	return slot
}

func header(seq uint64) frames.Header {
	return frames.Header{Seq: seq, FrameID: seq + 100, DeviceNS: int64(seq) * 10, HostNS: int64(seq)*10 + 5, Checksum: uint32(seq) + 7}
}

// capture puts a frame whose every byte is its seq into the slab.
func capture(t testing.TB, s *Slab, seq uint64, holders uint32) (int, Record) {
	t.Helper()
	slot := mustTake(t, s)
	paint(s.Pixels(slot), seq)
	return slot, s.Commit(slot, header(seq), holders)
}

func paint(b []byte, seq uint64) {
	for i := range b {
		b[i] = byte(seq)
	}
}

func lossOf(seq, count uint64) frames.Loss {
	return frames.Loss{
		Seq: seq, Count: count, FirstFrameID: seq + 100, LastFrameID: seq + count + 99,
		FirstNS: int64(seq)*10 + 5, LastNS: int64(seq+count-1)*10 + 5, Reason: frames.Dropped, Stage: frames.AtAcquire,
	}
}

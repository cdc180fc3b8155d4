package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestDiskFull has disks of every size: a run that finds no more room ends in order, with each frame durable or named,
// from what was set aside when its store was made.
func TestDiskFull(t *testing.T) {
	for name, spec := range sweepSpecs() {
		t.Run(name, func(t *testing.T) {
			refused, short, whole := 0, 0, 0
			for limit := int64(64 << 10); whole < 3; limit += 24 << 10 {
				disk := newDisk(t)
				disk.SetLimit(limit)
				s, err := store.Create(t.Context(), disk, sweepPath, spec, store.Options{Writer: "w0", Encoders: 1})
				if err != nil {
					if !vfs.IsFull(err) || short > 0 {
						t.Fatalf("%d bytes: %v", limit, err)
					}
					refused++
					continue
				}
				unwritten, err := fill(t, s)
				if err := errors.Join(err, s.Close()); err != nil {
					t.Fatalf("a disk of %d bytes: %v", limit, err)
				}
				acked := map[uint64]frames.State{}
				for seq := range uint64(sweepFrames) {
					acked[seq] = frames.Durable
					if unwritten[seq] {
						acked[seq] = frames.Unwritten
					}
				}
				if _, durable, err := check(t.Context(), disk.Crash(uint64(limit)), spec, acked); err != nil || durable != uint64(sweepFrames-len(unwritten)) {
					t.Fatalf("a disk of %d bytes: %d frames durable, %d unwritten, %v", limit, durable, len(unwritten), err)
				}
				if len(unwritten) > 0 {
					short++
				} else {
					whole++
				}
			}
			if refused == 0 || short == 0 {
				t.Errorf("%d stores refused, %d with frames unwritten: want some of each", refused, short)
			}
			t.Logf("%d stores refused, %d with frames unwritten, %d whole", refused, short, whole)
		})
	}
}

// fill writes a run frame by frame as a writer does: what has no room goes to the ledger.
func fill(t *testing.T, s *store.Store) (unwritten map[uint64]bool, err error) {
	t.Helper()
	spec := s.Spec()
	unwritten = map[uint64]bool{}
	for no := range spec.Shards(sweepFrames) {
		sh, err := s.TakeShard(t.Context(), no, no+1)
		if err != nil {
			return nil, err
		}
		end := min((no+1)*spec.ShardFrames, sweepFrames)
		for seq := no * spec.ShardFrames; seq < end; seq++ {
			switch err := sh.Commit(t.Context(), []store.Frame{testFrame(spec, seq, true)}, nil); {
			case err == nil && len(unwritten) > 0:
				return nil, fmt.Errorf("frame %d found room behind one that did not", seq)
			case err == nil:
				continue
			case !vfs.IsFull(err) || errors.Is(err, store.ErrBroken):
				return nil, err
			}
			unwritten[seq] = true
			if err := sh.Commit(t.Context(), nil, []frames.Loss{loss(frames.Unwritten, seq, 1)}); err != nil {
				return nil, err
			}
		}
		if err := sh.Seal(t.Context(), end); err != nil {
			return nil, err
		}
	}
	_, err = s.Finish(t.Context(), sweepFrames, run.Summary{EndedBy: run.EndedDiskFull})
	return unwritten, err
}

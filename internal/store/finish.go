package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// openers is how many writers may come into a folder while it is removed.
const openers = 16

// Finish completes the store of a run that captured so many frames: the arrays' final length and the final
// attributes. It returns the summary with what only the store knows: the path, the shape, what was written and
// lost, and the bytes. It may be called again and returns the same; nothing may be added to the store afterwards.
// The error wraps ErrIncomplete where a shard is not sealed.
func (s *Store) Finish(ctx context.Context, captured uint64, sum run.Summary) (run.Summary, error) {
	err := s.withSpare(func() (err error) { sum, err = s.finish(ctx, captured, sum); return err })
	if err != nil {
		return sum, fmt.Errorf("finishing %s: %w", s.at.root, err)
	}
	return sum, nil
}

func (s *Store) finish(ctx context.Context, captured uint64, sum run.Summary) (run.Summary, error) {
	a, err := s.attributes()
	if err != nil {
		return sum, err
	}
	if !a.Finished {
		unlock, err := s.lock(ctx)
		if err != nil {
			return sum, err
		}
		defer unlock.Close()
		if a, err = s.attributes(); err != nil { // another may have finished it meanwhile
			return sum, err
		}
	}
	if a.Finished && a.Summary != nil {
		return *a.Summary, s.removeWork()
	}
	if err := s.account(captured, &sum); err != nil {
		return sum, err
	}
	if err := errors.Join(s.events.sync(), s.setLength(captured)); err != nil {
		return sum, err
	}
	a.Finished, a.Captured, a.Summary = true, &captured, &sum
	root, err := encodeMeta(rootMeta(a))
	if err != nil {
		return sum, err
	}
	for _, r := range s.results {
		if err := r.sync(); err != nil {
			return sum, err
		}
	}
	if err := s.writeSums(root, captured); err != nil {
		return sum, err
	}
	if err := s.replaceMeta(s.at.root, "root", rootMeta(a)); err != nil {
		return sum, err
	}
	return sum, s.removeWork()
}

// removeWork ends the work of a finished store.
func (s *Store) removeWork() error {
	// The attributes' name, which another may not have synced.
	if err := errors.Join(s.fs.SyncDir(s.at.root), ignoreNotExist(s.fs.SyncDir(s.at.join(workDir)))); err != nil {
		return err
	}
	err := removeAll(s.fs, s.at.join(workDir))
	for range openers { // a writer that opens the store this moment, and finds it finished, has made a file
		if !vfs.IsExist(err) {
			break
		}
		err = removeAll(s.fs, s.at.join(workDir))
	}
	if err != nil {
		return err
	}
	return s.fs.SyncDir(s.at.root)
}

// attributes reads what the store says now of its run.
func (s *Store) attributes() (Attributes, error) {
	a, err := ReadAttributes(s.fs, s.at.root)
	if err == nil && a.Run != s.spec.Run {
		err = ErrOtherRun
	}
	return a, err
}

// account fills in what the store knows of a run.
func (s *Store) account(captured uint64, sum *run.Summary) error {
	sum.V, sum.Run, sum.Camera, sum.Source = 1, s.spec.Run, s.spec.Camera, s.spec.Source
	sum.Store, sum.Captured, sum.Dtype = s.at.root, captured, s.spec.Geometry.Dtype
	sum.Shape = append([]int{int(captured)}, s.spec.Geometry.Shape()...)
	sum.Written, sum.Lost, sum.StoredBytes = 0, 0, 0
	sum.LostByReason = map[string]uint64{}
	k := s.spec.ShardFrames
	for no := range s.spec.Shards(captured) {
		states, err := readStates(s.fs, s.at, no, k)
		if err != nil {
			return fmt.Errorf("%w: shard %d is not sealed: %w", ErrIncomplete, no, err)
		}
		written := uint64(0)
		for i, st := range states[:min(k, captured-no*k)] {
			switch {
			case st == frames.Durable:
				written++
			case st.Lost():
				sum.Lost++
				sum.LostByReason[st.String()]++
			default:
				return fmt.Errorf("%w: frame %d has the state %s", ErrIncomplete, no*k+uint64(i), st)
			}
		}
		sum.Written += written
		if written == 0 {
			continue
		}
		info, err := s.fs.Stat(s.at.shardFile(no))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
		sum.StoredBytes += uint64(info.Size())
	}
	sum.Bytes = sum.Written * uint64(s.spec.Geometry.FrameBytes())
	return nil
}

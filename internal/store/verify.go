package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// VerifyOptions are what a caller of Verify may choose.
type VerifyOptions struct {
	// Parallel is how many shards are read at a time (default GOMAXPROCS).
	Parallel int
	// Progress, if not nil, is told now and then how many frames of how many were looked at. It is called from
	// several goroutines.
	Progress func(done, total uint64)
}

// Verify proves from the disk alone that every frame in [0, captured) is durable or in a ledger: each chunk's
// crc32c, each shard's index, the columns, the ledgers against the states, and the checksums of all other files. It
// changes nothing, and reads past the page cache what it can: what the disk has, not what is remembered of it. An error
// means that the store could not be read at all; what is wrong with a store that can is in the report.
func Verify(ctx context.Context, fs vfs.FS, path string, opts VerifyOptions) (Report, error) {
	a, damaged, err := KnownAttributes(fs, path)
	if err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	v := &verifier{survey: survey{fs: fs, at: layout{path, a.Geometry.Channels}, attrs: a}, opts: opts}
	v.found.report = Report{
		V: 1, Store: path, Run: a.Run, Finished: a.Finished,
		LostByReason: map[string]uint64{}, Bad: []BadRange{}, Problems: []string{},
	}
	if damaged != nil {
		v.found.problem("%s is not what was written", metaName)
	}
	if err := v.run(ctx); err != nil {
		return Report{}, fmt.Errorf("verifying %s: %w", path, err)
	}
	return v.found.finish(), nil
}

type verifier struct {
	survey
	opts   VerifyOptions
	found  findings
	looked atomic.Uint64 // frames
}

func (v *verifier) run(ctx context.Context) error {
	if !v.attrs.Finished {
		v.found.report.InUse = v.inUse(ctx)
	}
	if err := v.survey.run(); err != nil {
		return err
	}
	shards := v.attrs.Shards(v.captured)
	if v.torn > 0 && !v.attrs.Finished {
		v.found.problem("%d ledger lines are torn", v.torn)
	}
	if v.attrs.Finished {
		if err := v.checkFinished(); err != nil {
			return err
		}
		shards = min(shards, v.states)
	}
	readable, err := readLength(v.fs, v.at.join(imageName))
	switch {
	case err == nil:
		v.found.report.ReadableUntil = readable
	case !errors.Is(err, ErrCorrupt) && !vfs.IsNotExist(err):
		return err
	case !v.attrs.Finished: // else its checksum tells
		v.found.problem("%s is damaged", filepath.Join(imageName, metaName))
	}
	v.found.report.Captured = v.captured
	parallel := v.opts.Parallel
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	g, shardCtx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for no := range shards {
		if shardCtx.Err() != nil {
			break
		}
		g.Go(func() error {
			found, err := v.shard(shardCtx, no)
			if err != nil {
				return fmt.Errorf("shard %d: %w", no, err)
			}
			v.found.take(found)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if have := shards * v.attrs.ShardFrames; have < v.captured {
		v.found.take(shardFindings{
			count: [recoverable + 1]uint64{missing: v.captured - have},
			bad:   []BadRange{{Seq: have, Count: v.captured - have, What: "the store has no shard for it"}},
		})
	}
	if v.attrs.Finished {
		v.checkSummary()
	}
	return ctx.Err()
}

// inUse reports whether a writer or a recovery has the store open.
func (v *verifier) inUse(ctx context.Context) bool {
	if _, err := v.fs.Stat(v.at.work(liveName)); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	lock, err := v.fs.Lock(ctx, v.at.work(liveName))
	if err != nil {
		return errors.Is(err, vfs.ErrLocked)
	}
	_ = lock.Close() // it was held for a moment
	return false
}

// checkFinished looks at all of a finished store but its shards and columns.
func (v *verifier) checkFinished() error {
	if v.attrs.Captured == nil {
		v.found.problem("the finished store does not say how many frames were captured")
	}
	if v.work {
		v.found.problem("the finished store has a folder %s", workDir)
	}
	if v.beyond > 0 {
		v.found.problem("a ledger names frame %d, captured are %d", v.beyond-1, v.captured)
	}
	return errors.Join(v.checkSums(), v.checkExtra())
}

// checkSummary compares the final attributes with what was found.
func (v *verifier) checkSummary() {
	sum, r := v.attrs.Summary, &v.found.report
	switch {
	case sum == nil:
		v.found.problem("the finished store has no summary")
	case sum.Written != r.Written+r.Corrupt || sum.Lost != r.Lost:
		v.found.problem("the summary says %d written and %d lost", sum.Written, sum.Lost)
	}
}

// tell reports progress now and then.
func (v *verifier) tell() {
	const step = 64
	if n := v.looked.Add(1); v.opts.Progress != nil && (n%step == 0 || n == v.captured) {
		v.opts.Progress(n, v.captured)
	}
}

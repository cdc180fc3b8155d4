package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
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
// crc32c, each shard's index, the columns, and the ledgers against the states. It changes nothing. An error means
// that the store could not be read at all; what is wrong with a store that can is in the report.
func Verify(ctx context.Context, fs vfs.FS, path string, opts VerifyOptions) (Report, error) {
	a, err := ReadAttributes(fs, path)
	if err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	v := &verifier{fs: fs, at: layout{path, a.Geometry.Channels}, attrs: a, opts: opts}
	v.found.report = Report{
		V: 1, Store: path, Run: a.Run, Finished: a.Finished,
		LostByReason: map[string]uint64{}, Bad: []BadRange{}, Problems: []string{},
	}
	if err := v.run(ctx); err != nil {
		return Report{}, fmt.Errorf("verifying %s: %w", path, err)
	}
	return v.found.finish(), nil
}

type verifier struct {
	fs    vfs.FS
	at    layout
	attrs Attributes
	opts  VerifyOptions
	found findings

	captured uint64
	losses   map[uint64][]frames.Loss // by shard
	journals map[uint64][]workFile    // by shard
	looked   atomic.Uint64            // frames
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.survey(); err != nil {
		return err
	}
	if v.attrs.Finished {
		v.checkFinished()
	} else {
		v.found.problem("the store is not finished")
	}
	v.found.report.Captured = v.captured
	parallel := v.opts.Parallel
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	g, shardCtx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for no := range v.attrs.Shards(v.captured) {
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
	if v.attrs.Finished {
		v.checkSummary()
	}
	return ctx.Err()
}

// survey learns the ledgers, the open shards' journals, and how many frames there should be.
func (v *verifier) survey() error {
	k := v.attrs.ShardFrames
	losses, torn, err := readLedgers(v.fs, v.at)
	if err != nil {
		return err
	}
	if torn > 0 && !v.attrs.Finished {
		v.found.problem("%d torn ledger lines", torn)
	}
	v.losses = map[uint64][]frames.Loss{}
	for _, l := range losses {
		v.captured = max(v.captured, l.End())
		for no := l.Seq / k; no <= (l.End()-1)/k; no++ {
			if part, ok := clip(l, no*k, no*k+k); ok {
				v.losses[no] = append(v.losses[no], part)
			}
		}
	}
	if err := v.surveyWork(); err != nil {
		return err
	}
	if v.attrs.Finished && v.attrs.Captured != nil {
		if v.captured > *v.attrs.Captured {
			v.found.problem("a ledger names frame %d, captured are %d", v.captured-1, *v.attrs.Captured)
		}
		v.captured = *v.attrs.Captured
		return nil
	}
	return v.surveySealed()
}

// surveyWork lists the journals of open shards.
func (v *verifier) surveyWork() error {
	v.journals = map[uint64][]workFile{}
	entries, err := v.fs.ReadDir(v.at.join(workDir))
	if vfs.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if v.attrs.Finished {
		v.found.problem("the finished store has a folder %s", workDir)
	}
	for _, e := range entries {
		n, err := readCaptured(v.fs, v.at, e.Name())
		if err != nil {
			return err
		}
		v.captured = max(v.captured, n)
		w, ok := parseWorkName(e.Name())
		if !ok || w.kind != journalKind {
			continue
		}
		v.journals[w.shard] = append(v.journals[w.shard], w)
		j, err := readJournal(v.fs, v.at.work(w.name), 0)
		if errors.Is(err, ErrCorrupt) || vfs.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if j.Run != v.attrs.Run || j.Shard != w.shard || j.ShardFrames != v.attrs.ShardFrames {
			continue
		}
		v.captured = max(v.captured, j.Captured)
		for _, r := range j.Records {
			v.captured = max(v.captured, r.Seq+1)
		}
	}
	return nil
}

// surveySealed learns from the sealed shards of an unfinished store how many frames there are.
func (v *verifier) surveySealed() error {
	entries, err := v.fs.ReadDir(v.at.columnChunks(colState))
	if err != nil {
		return err
	}
	for _, e := range entries {
		var no uint64
		if _, err := fmt.Sscan(e.Name(), &no); err != nil || no > (1<<62)/v.attrs.ShardFrames {
			continue
		}
		states, err := readStates(v.fs, v.at, no, v.attrs.ShardFrames)
		if errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return err
		}
		if n := filled(states); n > 0 {
			v.captured = max(v.captured, no*v.attrs.ShardFrames+n)
		}
	}
	return nil
}

// checkFinished compares the arrays' lengths with the final number of frames.
func (v *verifier) checkFinished() {
	if v.attrs.Captured == nil {
		v.found.problem("the finished store does not say how many frames were captured")
	}
	arrays := []string{v.at.join(imageName)}
	for _, c := range columns() {
		arrays = append(arrays, v.at.column(c.name))
	}
	for _, dir := range arrays {
		n, err := readLength(v.fs, dir)
		switch {
		case err != nil:
			v.found.problem("%v", err)
		case n != v.captured:
			v.found.problem("%s has %d frames, captured are %d", dir, n, v.captured)
		}
	}
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

// shard looks at every frame of one shard.
func (v *verifier) shard(ctx context.Context, no uint64) (shardFindings, error) {
	k := v.attrs.ShardFrames
	states, err := readStates(v.fs, v.at, no, k)
	switch {
	case vfs.IsNotExist(err) && !v.attrs.Finished:
		return v.openShard(ctx, no)
	case vfs.IsNotExist(err):
		v.found.problem("shard %d has no states", no)
		states = make([]frames.State, k)
	case errors.Is(err, ErrCorrupt):
		v.found.problem("%v", err)
		states = make([]frames.State, k)
	case err != nil:
		return shardFindings{}, err
	}
	crcs, err := v.checkColumns(no)
	if err != nil {
		return shardFindings{}, err
	}
	f, spans, broken, err := v.open(no, states)
	if err != nil {
		return shardFindings{}, err
	}
	if f != nil {
		defer f.Close()
	}
	ledgered := v.ledgered(no)
	var found shardFindings
	buf := v.buffer()
	for i, st := range states {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		seq := no*k + uint64(i)
		if seq >= v.captured {
			if st != frames.Absent || !spans[i].empty() {
				v.found.problem("the store has frame %d, captured are %d", seq, v.captured)
			}
			continue
		}
		switch {
		case st == frames.Durable && broken != "":
			found.add(seq, corrupt, broken)
		case st == frames.Durable:
			verdict, what, err := v.chunk(f, spans[i], crcs[i], buf)
			if err != nil {
				return found, err
			}
			found.add(seq, verdict, what)
		case st.Lost() && !spans[i].empty():
			found.add(seq, corrupt, "lost by its state, with a chunk in the shard")
		case st.Lost() && !slices.Contains(ledgered[i], st):
			found.add(seq, missing, fmt.Sprintf("%s by its state, not in a ledger", st))
		case st.Lost():
			found.add(seq, lost, st.String())
		case st == frames.Absent:
			found.add(seq, missing, "neither durable nor in a ledger")
		default:
			found.add(seq, corrupt, "an unknown state")
		}
		v.tell()
	}
	return found, nil
}

// tell reports progress now and then.
func (v *verifier) tell() {
	const step = 64
	if n := v.looked.Add(1); v.opts.Progress != nil && (n%step == 0 || n == v.captured) {
		v.opts.Progress(n, v.captured)
	}
}

// ledgered lists for each frame of a shard the reasons that ledgers give for its loss.
func (v *verifier) ledgered(no uint64) [][]frames.State {
	k := v.attrs.ShardFrames
	reasons := make([][]frames.State, k)
	for _, l := range v.losses[no] {
		for seq := l.Seq; seq < l.End(); seq++ {
			if i := seq - no*k; !slices.Contains(reasons[i], l.Reason) {
				reasons[i] = append(reasons[i], l.Reason)
			}
		}
	}
	return reasons
}

// checkColumns looks at the sizes of a shard's column chunks and returns the checksums.
func (v *verifier) checkColumns(no uint64) ([]uint32, error) {
	k := v.attrs.ShardFrames
	crcs := make([]uint32, k)
	for _, c := range columns() {
		b, err := readFile(v.fs, v.at.columnChunk(c.name, no), int64(k)*int64(c.size))
		switch {
		case vfs.IsNotExist(err) || errors.Is(err, ErrCorrupt) || err == nil && uint64(len(b)) != k*uint64(c.size):
			v.found.problem("shard %d has no whole column %s", no, c.name)
		case err != nil:
			return nil, err
		case c.name == colCRC:
			for i := range crcs {
				crcs[i] = binary.LittleEndian.Uint32(b[4*i:])
			}
		}
	}
	return crcs, nil
}

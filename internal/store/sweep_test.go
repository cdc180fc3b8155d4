package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The sweep's run: 22 frames in shards of four, of which five are lost.
const (
	sweepFrames = 22
	sweepPath   = "/data/a.ome.zarr"
)

// act is one step of the sweep's run on a shard.
type act struct {
	writer int // a change of writer is a takeover
	frames []uint64
	lost   []uint64
	vain   []uint64 // frames that the former owner commits after the takeover
	seal   bool
}

// sweepRun is what two writers do with each shard: lost frames, frames out of order, a shard that is lost as a whole,
// takeovers with and without frames to copy, a former owner that wakes up, and a partial last shard.
func sweepRun() [][]act {
	return [][]act{
		{{writer: 0, frames: []uint64{0, 1}, lost: []uint64{2}}, {writer: 0, frames: []uint64{3}, seal: true}},
		{{writer: 1, frames: []uint64{6, 4}}, {writer: 1, lost: []uint64{5}}, {writer: 0, vain: []uint64{7}}, {writer: 0, frames: []uint64{7}, seal: true}},
		{{writer: 1, lost: []uint64{8, 9, 10, 11}, seal: true}},
		{{writer: 0, frames: []uint64{12, 13, 14, 15}}, {writer: 1, seal: true}},
		{{writer: 1, frames: []uint64{16}}, {writer: 1, frames: []uint64{17}}, {writer: 1, frames: []uint64{18, 19}, seal: true}},
		{{writer: 0, frames: []uint64{20, 21}, seal: true}},
	}
}

// sweep is one pass of the run.
type sweep struct {
	ctx  context.Context
	fs   vfs.FS
	spec run.Spec
	// goOn has a shard whose owner had an error given to the other writer, and whatever failed tried again, as often.
	goOn int

	epoch uint64

	mu    sync.Mutex // guards what follows
	acked map[uint64]frames.State
}

func newSweep(ctx context.Context, fs vfs.FS, spec run.Spec) *sweep {
	return &sweep{ctx: ctx, fs: fs, spec: spec, acked: map[uint64]frames.State{}}
}

// sweepSpecs are the ways in which chunks lie in a file.
func sweepSpecs() map[string]run.Spec {
	specs := map[string]run.Spec{}
	for name, with := range codecs() {
		s := testSpec()
		with(&s)
		s.Level = min(s.Level, 1)
		specs[name] = s
	}
	return specs
}

// promised is what the store has taken so far.
func (s *sweep) promised() map[uint64]frames.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[uint64]frames.State{}
	for seq, st := range s.acked {
		m[seq] = st
	}
	return m
}

// try does something, and again while it may.
func (s *sweep) try(do func() error) error {
	for {
		err := do()
		if err == nil || s.goOn == 0 {
			return err
		}
		s.goOn--
	}
}

// run writes the store to its end.
func (s *sweep) run() (err error) {
	var writers []*store.Store
	again := s.goOn
	defer func() {
		for _, w := range writers {
			if e := w.Close(); again == 0 {
				err = errors.Join(err, e) // else the store is finished all the same
			}
		}
	}()
	for i := range 2 {
		var w *store.Store
		err := s.try(func() (err error) { w, err = s.open(i); return err })
		if err != nil {
			return err
		}
		writers = append(writers, w)
	}
	for no, acts := range sweepRun() {
		if err := s.shard(writers, uint64(no), acts); err != nil {
			return err
		}
	}
	return s.try(func() error {
		_, err := writers[0].Finish(s.ctx, sweepFrames, run.Summary{EndedBy: run.EndedFrames})
		return err
	})
}

// open makes the store or opens it, as a writer does.
func (s *sweep) open(writer int) (*store.Store, error) {
	opts := store.Options{Writer: fmt.Sprint("w", writer), Encoders: 1}
	if writer == 0 {
		w, err := store.Create(s.ctx, s.fs, sweepPath, s.spec, opts)
		if !errors.Is(err, store.ErrExists) {
			return w, err
		}
	}
	return store.Open(s.ctx, s.fs, sweepPath, s.spec.Run, opts)
}

// shard writes one shard. After an error another owner begins anew with what is not acknowledged, if the sweep goes on.
func (s *sweep) shard(writers []*store.Store, no uint64, acts []act) error {
	flip := 0
	return s.try(func() error {
		err := s.own(writers, flip, no, acts)
		flip ^= 1
		return err
	})
}

func (s *sweep) own(writers []*store.Store, flip int, no uint64, acts []act) (err error) {
	var sh *store.Shard
	owner := -1
	defer func() {
		if sh != nil {
			err = errors.Join(err, sh.Close())
		}
	}()
	for _, a := range acts {
		if w := a.writer ^ flip; w != owner {
			s.epoch++
			next, err := writers[w].TakeShard(s.ctx, no, s.epoch)
			if err != nil {
				return err
			}
			if sh != nil && len(a.vain) > 0 {
				_ = s.commit(sh, a.vain, nil, false) // whatever it says, nobody listens
			}
			if sh != nil {
				_ = sh.Close()
			}
			sh, owner = next, w
		}
		if err := s.commit(sh, a.frames, a.lost, true); err != nil {
			return err
		}
		if a.seal {
			if err := sh.Seal(s.ctx, min((no+1)*s.spec.ShardFrames, sweepFrames)); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit commits what the shard does not have.
func (s *sweep) commit(sh *store.Shard, seqs, lost []uint64, count bool) error {
	var fs []store.Frame
	for _, seq := range seqs {
		if sh.State(seq) == frames.Absent {
			fs = append(fs, testFrame(s.spec, seq, seq%3 > 0))
		}
	}
	var ls []frames.Loss
	for _, seq := range lost {
		if sh.State(seq) == frames.Absent {
			ls = append(ls, loss(frames.Dropped, seq, 1))
		}
	}
	if len(fs)+len(ls) == 0 {
		return nil
	}
	if err := sh.Commit(s.ctx, fs, ls); err != nil || !count {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range fs {
		s.acked[f.Seq] = frames.Durable
	}
	for _, l := range ls {
		s.acked[l.Seq] = l.Reason
	}
	return nil
}

// check proves a store: sound, and all that was acknowledged is there. It returns the number of frames and of those
// that are durable.
func check(ctx context.Context, fs vfs.FS, spec run.Spec, acked map[uint64]frames.State) (captured, durable uint64, err error) {
	r, err := store.Verify(ctx, fs, sweepPath, store.VerifyOptions{Parallel: 1})
	if err != nil {
		return 0, 0, err
	}
	if !r.OK {
		return 0, 0, fmt.Errorf("not sound: %+v", r)
	}
	rd, err := store.OpenReader(fs, sweepPath)
	if err != nil {
		return 0, 0, err
	}
	defer rd.Close()
	want := make([]byte, spec.Geometry.FrameBytes())
	for seq := range max(r.Captured, sweepFrames) {
		st, promised := acked[seq]
		if seq >= r.Captured {
			if promised {
				return 0, 0, fmt.Errorf("frame %d was %s, and the store has %d frames", seq, st, r.Captured)
			}
			continue
		}
		row, err := rd.Row(seq)
		if err != nil {
			return 0, 0, err
		}
		if st == frames.Durable && row.State != frames.Durable || promised && row.State != frames.Durable && row.State != st {
			return 0, 0, fmt.Errorf("frame %d was %s and is %s", seq, st, row.State)
		}
		got, err := rd.Frame(nil, seq)
		if err != nil {
			return 0, 0, err
		}
		if clear(want); row.State == frames.Durable {
			hash(want, testSeed, seq)
		}
		if !bytes.Equal(got, want) {
			return 0, 0, fmt.Errorf("frame %d, %s, has other bytes than were written", seq, row.State)
		}
	}
	return r.Captured, r.Written, nil
}

// recovered recovers the store, if there is one, and checks it.
func recovered(ctx context.Context, fs vfs.FS, spec run.Spec, acked map[uint64]frames.State) (captured, durable uint64, err error) {
	_, err = store.Recover(ctx, fs, sweepPath, store.RecoverOptions{})
	if errors.Is(err, store.ErrNotStore) && len(acked) == 0 {
		return 0, 0, nil // it died before the store was there
	}
	if err != nil {
		return 0, 0, err
	}
	return check(ctx, fs, spec, acked)
}

// newDisk is an empty disk with the folder for stores.
func newDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem(0)
	if err := errors.Join(m.Mkdir("/data"), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return m
}

// operations are the names of what the run does.
func operations(t testing.TB, spec run.Spec) []string {
	t.Helper()
	var mu sync.Mutex
	var names []string
	fs := vfs.NewFault(newDisk(t), 0, func(op vfs.Op) vfs.Injection {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, op.Name)
		return vfs.Pass
	})
	s := newSweep(t.Context(), fs, spec)
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	n := fs.Count()
	if captured, durable, err := check(t.Context(), fs, spec, s.acked); err != nil || captured != sweepFrames || durable != sweepFrames-6 {
		t.Fatalf("without a fault: %d frames, %d durable, %v", captured, durable, err)
	}
	return names[:n]
}

// TestSweep has each operation of a run fail, in each way. The writers then either end, as if killed, and the disk
// keeps what a crash leaves; or they go on, each shard under a new owner. Either way every frame that was acknowledged
// is there, and the store is sound.
func TestSweep(t *testing.T) {
	kinds := []vfs.Injection{vfs.IO, vfs.Full, vfs.Short, vfs.Late, vfs.Slow}
	for name, spec := range sweepSpecs() {
		ops := operations(t, spec)
		for _, kind := range kinds {
			t.Run(fmt.Sprint(name, " ", kind), func(t *testing.T) {
				t.Parallel()
				var tally tally
				for i, op := range ops {
					if kind == vfs.Short && op != "write" || leftOut(i, kind) {
						continue
					}
					sweepOne(t, spec, kind, i, false, &tally)
					// Under a new owner it makes no difference which error the old one had.
					if kind == vfs.IO || kind == vfs.Late {
						sweepOne(t, spec, kind, i, true, &tally)
					}
				}
				t.Logf("%d operations: %s", len(ops), tally)
			})
		}
	}
}

// leftOut reports whether a sweep passes over an operation: with -short, as under the race detector, each kind of fault
// meets every tenth one, another tenth than the other kinds.
func leftOut(i int, kind vfs.Injection) bool { return testing.Short() && i%10 != int(kind)%10 }

// tally counts over a sweep.
type tally struct{ faults, ended, atRisk, acked, durable uint64 }

func (t tally) String() string {
	return fmt.Sprintf("%d faults, %d ended the run; frames at risk %d, acknowledged durable %d, durable at the end %d",
		t.faults, t.ended, t.atRisk, t.acked, t.durable)
}

func sweepOne(t *testing.T, spec run.Spec, kind vfs.Injection, i int, goOn bool, sum *tally) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	disk := newDisk(t)
	var hit vfs.Op
	fs := vfs.NewFault(disk, time.Millisecond, func(op vfs.Op) vfs.Injection {
		if op.N != i {
			return vfs.Pass
		}
		hit = op
		return kind
	})
	s := newSweep(ctx, fs, spec)
	if goOn {
		s.goOn = 3
	}
	err := s.run()
	what := fmt.Sprintf("%s at operation %d (%s %s), go on %t", kind, i, hit.Name, hit.Path, goOn)
	sum.faults++
	sum.atRisk += sweepFrames
	switch {
	case err == nil:
	case kind == vfs.Slow || ctx.Err() != nil:
		t.Fatalf("%s: %v", what, err)
	case goOn:
		t.Fatalf("%s: the run does not go on: %v", what, err)
	case kind == vfs.Full && !vfs.IsFull(err) || kind != vfs.Full && !errors.Is(err, syscall.EIO):
		t.Fatalf("%s: the error does not say so: %v", what, err)
	case strings.Contains(err.Error(), "\n"):
		t.Fatalf("%s: more than one error: %v", what, err)
	default:
		sum.ended++
	}
	acked := s.promised()
	for _, st := range acked {
		if st == frames.Durable {
			sum.acked++
		}
	}
	seed := uint64(i)*2 + uint64(kind)
	left := disk.Crash(seed)
	test := recovered
	if err == nil {
		test = check // a finished store needs nothing more
	}
	if err != nil && i%2 == 1 {
		// The writers have ended and the machine goes on; its power goes after the recovery.
		if _, err := store.Recover(ctx, disk, sweepPath, store.RecoverOptions{}); err != nil && !errors.Is(err, store.ErrNotStore) {
			t.Fatalf("%s: recovery: %v", what, err)
		}
		left = disk.Crash(seed)
		if _, err := left.Stat(sweepPath); err == nil {
			test = check
		}
	}
	captured, durable, err2 := test(ctx, left, spec, acked)
	switch {
	case err2 != nil:
		t.Fatalf("%s, crash %d: %v", what, seed, err2)
	case err == nil && captured != sweepFrames:
		t.Fatalf("%s: the finished store has %d frames", what, captured)
	case err == nil && durable != sweepFrames-6:
		t.Fatalf("%s: of the finished store %d frames are durable", what, durable)
	}
	sum.durable += durable
}

// TestCrashes takes the power away at random points of a run.
func TestCrashes(t *testing.T) {
	const crashes = 200
	for name, spec := range sweepSpecs() {
		t.Run(name, func(t *testing.T) {
			ops := len(operations(t, spec))
			rng := rand.New(rand.NewPCG(1, 2))
			at := map[int][]uint64{}
			for seed := range uint64(crashes) {
				n := rng.IntN(ops)
				at[n] = append(at[n], seed)
			}
			disk := newDisk(t)
			type crash struct {
				op    vfs.Op
				seed  uint64
				left  *vfs.Mem
				acked map[uint64]frames.State
			}
			var mu sync.Mutex // guards taken
			var taken []crash
			var s *sweep
			fs := vfs.NewFault(disk, 0, func(op vfs.Op) vfs.Injection {
				for _, seed := range at[op.N] {
					acked := s.promised() // before the crash, so that nothing is asked of it that came later
					left := disk.Crash(seed)
					mu.Lock()
					taken = append(taken, crash{op, seed, left, acked})
					mu.Unlock()
				}
				return vfs.Pass
			})
			s = newSweep(t.Context(), fs, spec)
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			if len(taken) != crashes {
				t.Fatalf("%d crashes, want %d", len(taken), crashes)
			}
			promised, durable := 0, uint64(0)
			for _, c := range taken {
				_, n, err := recovered(t.Context(), c.left, spec, c.acked)
				if err != nil {
					t.Fatalf("crash %d before operation %d (%s %s): %v", c.seed, c.op.N, c.op.Name, c.op.Path, err)
				}
				durable += n
				for _, st := range c.acked {
					if st == frames.Durable {
						promised++
					}
				}
			}
			t.Logf("%d crashes at %d operations: %d frames acknowledged, %d durable after recovery", crashes, ops, promised, durable)
		})
	}
}

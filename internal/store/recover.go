package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// recoverName is what the ledger of a recovery is called.
const recoverName = "recover"

// RecoverOptions are what a caller of Recover may choose.
type RecoverOptions struct {
	// Captured is how many frames the camera is known to have produced, by another witness than the disk.
	Captured uint64
	// Losses are what another witness knows of frames that may be neither durable nor in a ledger.
	Losses []frames.Loss
	// LockTimeout bounds the wait for writers that have the store open (default 1 s).
	LockTimeout time.Duration
	// Progress, if not nil, is told how many shards of how many are complete.
	Progress func(done, total uint64)
}

// Recovery is what Recover found and did.
type Recovery struct {
	V     int          `json:"v"` // 1
	Store string       `json:"store"`
	Run   frames.RunID `json:"run"`
	// Nothing is set when the store was finished already: then nothing was to be done.
	Nothing bool `json:"nothing"`
	// Captured, Written, Lost and LostByReason are the account of the store as it is now.
	Captured     uint64            `json:"captured"`
	Written      uint64            `json:"written"`
	Lost         uint64            `json:"lost"`
	LostByReason map[string]uint64 `json:"lost_by_reason"`
	// Sealed is how many shards were complete already, Recovered how many were completed from their journals, with
	// RecoveredFrames in them.
	Sealed          uint64 `json:"sealed"`
	Recovered       uint64 `json:"recovered"`
	RecoveredFrames uint64 `json:"recovered_frames"`
	// HostLost is how many frames are in the ledger now because nothing was known of them but that they were
	// captured, Damaged how many because a journal promised them and their chunk is not what was written.
	HostLost uint64 `json:"host_lost"`
	Damaged  uint64 `json:"damaged"`
}

// Recover completes the store of a run that ended without: it makes index, columns and lengths of the open shards from
// their journals, drops what a crash tore, puts every captured frame that is neither durable nor in a ledger into the
// ledger, and finishes the store. A shard's file is completed where it is: only frames that lie in several former
// owners' files are copied. It may be killed at any point and called again; of a finished store it returns the account.
//
// The error wraps ErrInUse while a writer has the store open, ErrNotStore where there is none.
func Recover(ctx context.Context, fs vfs.FS, path string, opts RecoverOptions) (Recovery, error) {
	if opts.LockTimeout == 0 {
		opts.LockTimeout = time.Second
	}
	r, err := recoverStore(ctx, fs, path, opts)
	if err != nil {
		return r, fmt.Errorf("recovering %s: %w", path, err)
	}
	return r, nil
}

func recoverStore(ctx context.Context, fs vfs.FS, path string, opts RecoverOptions) (rec Recovery, err error) {
	a, err := ReadAttributes(fs, path)
	if err != nil {
		return rec, err
	}
	s, err := newStore(fs, path, a.Spec, Options{Writer: recoverName, LockTimeout: opts.LockTimeout})
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rec = Recovery{V: 1, Store: path, Run: a.Run}
	if !a.Finished {
		if err := s.fs.Mkdir(s.at.join(workDir)); err != nil && !vfs.IsExist(err) {
			return rec, err
		}
		if err := s.hold(ctx, fs.Lock); err != nil {
			return rec, err
		}
		if a, err = s.attributes(); err != nil { // it may have been finished meanwhile
			return rec, err
		}
	}
	captured := uint64(0)
	if rec.Nothing = a.Finished; !rec.Nothing {
		r := recovery{store: s, opts: opts, found: &rec}
		if captured, err = r.shards(ctx); err != nil {
			return rec, err
		}
	}
	sum, err := s.Finish(ctx, captured, run.Summary{
		EndedBy:  run.EndedInterrupted,
		Warnings: []string{"the run did not end in order: its store was recovered"},
	})
	rec.Captured, rec.Written, rec.Lost, rec.LostByReason = sum.Captured, sum.Written, sum.Lost, sum.LostByReason
	return rec, err
}

// recovery is the work on one store, which nobody else writes to.
type recovery struct {
	store *Store
	opts  RecoverOptions
	found *Recovery

	losses lossList
}

// shards seals every shard that is not, and returns how many frames were captured.
func (r *recovery) shards(ctx context.Context) (captured uint64, err error) {
	s := r.store
	v := &survey{fs: s.fs, at: s.at, attrs: Attributes{Spec: s.spec}}
	if err := v.run(); err != nil {
		return 0, err
	}
	if err := ignoreNotExist(s.fs.Remove(s.at.work(spareName))); err != nil { // it was set aside for this
		return 0, err
	}
	r.losses = v.losses
	captured = max(v.captured, r.opts.Captured)
	for _, l := range r.opts.Losses {
		if err := l.Valid(); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		captured = max(captured, l.End())
	}
	s.NoteCaptured(captured)
	total := s.spec.Shards(captured)
	for no := range total {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		switch _, err := readStates(s.fs, s.at, no, s.spec.ShardFrames); {
		case err == nil:
			r.found.Sealed++
		case !vfs.IsNotExist(err):
			return 0, err
		default:
			if err := r.shard(ctx, no, min((no+1)*s.spec.ShardFrames, captured)); err != nil {
				return 0, err
			}
		}
		if r.opts.Progress != nil {
			r.opts.Progress(no+1, total)
		}
	}
	return captured, s.grow(ctx)
}

// shard seals one shard that has frames up to end.
func (r *recovery) shard(ctx context.Context, no, end uint64) error {
	sh, damaged, err := r.reclaim(ctx, no)
	if err != nil {
		return fmt.Errorf("shard %d: %w", no, err)
	}
	if err := sh.relyOn(r.opts.Losses); err != nil {
		return fmt.Errorf("shard %d: %w", no, errors.Join(err, sh.Close()))
	}
	losses := sh.unaccounted(end, damaged)
	for _, l := range losses {
		if l.Reason == frames.Unwritten {
			r.found.Damaged += l.Count
		} else {
			r.found.HostLost += l.Count
		}
	}
	if len(losses) > 0 {
		err = sh.Commit(ctx, nil, losses)
	}
	if err == nil {
		err = sh.Seal(ctx, end)
	}
	for seq := sh.first; err == nil && seq < end; seq++ {
		if sh.State(seq) == frames.Durable {
			r.found.RecoveredFrames++
		}
	}
	r.found.Recovered++
	return errors.Join(err, sh.Close())
}

// unaccounted are the shard's frames below end that are neither durable nor in a ledger, as losses: those that a
// journal promised, by their records, and the others.
func (s *Shard) unaccounted(end uint64, damaged map[uint64]record) []frames.Loss {
	var ls []frames.Loss
	for seq := s.first; seq < end; seq++ {
		if s.State(seq) != frames.Absent {
			continue
		}
		now := time.Now().UnixNano()
		l := frames.Loss{Seq: seq, Count: 1, FirstNS: now, LastNS: now, Reason: frames.HostLost, Stage: frames.AtHost}
		if rec, ok := damaged[seq]; ok {
			l = rec.unwritten()
		}
		ls = append(ls, l)
	}
	return join(ls)
}

// unwritten is the loss of a frame whose chunk is not what was written.
func (r record) unwritten() frames.Loss {
	return frames.Loss{
		Seq: r.Seq, Count: 1, FirstFrameID: r.FrameID, LastFrameID: r.FrameID, FirstNS: r.HostNS, LastNS: r.HostNS,
		Reason: frames.Unwritten, Stage: frames.AtWriter,
	}
}

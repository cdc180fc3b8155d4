package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	// Shards are those that were completed, at most BadLimit of them.
	Shards []RecoveredShard `json:"shards"`
	// Repaired are the files, relative to the store, that were damaged and are written anew.
	Repaired []string `json:"repaired"`
	// TornLines is how many ledger lines a crash had cut short.
	TornLines uint64 `json:"torn_ledger_lines"`
	// HostLost is how many frames are in the ledger now because nothing was known of them but that they were
	// captured, Torn how many because a crash cut their commit short, Damaged how many because a journal promised them
	// and their chunk is not what was written.
	HostLost uint64 `json:"host_lost"`
	Torn     uint64 `json:"torn"`
	Damaged  uint64 `json:"damaged"`
}

// RecoveredShard is what was found of a shard that was not complete.
type RecoveredShard struct {
	Shard uint64 `json:"shard"`
	// Frames are durable, Lost are in a ledger, HostLost, Torn and Damaged among them.
	Frames   uint64 `json:"frames"`
	Lost     uint64 `json:"lost"`
	HostLost uint64 `json:"host_lost"`
	Torn     uint64 `json:"torn"`
	Damaged  uint64 `json:"damaged"`
	// Owners is how many writers have left something of it.
	Owners int `json:"owners"`
	// TornRecords are records of the commit that a crash cut short, BadRecords those that are damaged although later
	// ones are whole.
	TornRecords int `json:"torn_records"`
	BadRecords  int `json:"bad_records"`
}

// Recover completes the store of a run that ended without: it makes index, columns and lengths of the open shards from
// their journals, drops what a crash tore, puts every captured frame that is neither durable nor in a ledger into the
// ledger, and finishes the store. A shard's file is completed where it is: only frames that lie in several former
// owners' files are copied. It may be killed at any point and called again; of a finished store it returns the account.
//
// The error wraps ErrInUse while a writer has the store open, ErrNotStore where there is none.
func Recover(ctx context.Context, disk vfs.FS, path string, opts RecoverOptions) (Recovery, error) {
	if opts.LockTimeout == 0 {
		opts.LockTimeout = time.Second
	}
	r, err := recoverStore(ctx, disk, path, opts)
	if err != nil {
		return r, fmt.Errorf("recovering %s: %w", path, err)
	}
	return r, nil
}

func recoverStore(ctx context.Context, disk vfs.FS, path string, opts RecoverOptions) (rec Recovery, err error) {
	a, damaged, err := KnownAttributes(disk, path)
	if err != nil {
		return rec, err
	}
	s, err := newStore(disk, path, a.Spec, Options{Writer: recoverName, LockTimeout: opts.LockTimeout})
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rec = Recovery{V: 1, Store: path, Run: a.Run, Shards: []RecoveredShard{}, Repaired: []string{}}
	if !a.Finished {
		if err := s.fs.Mkdir(s.at.join(workDir)); err != nil && !vfs.IsExist(err) {
			return rec, err
		}
		if err := s.hold(ctx, disk.Lock); err != nil {
			return rec, err
		}
		r := recovery{store: s, opts: opts, found: &rec}
		if damaged != nil {
			if err := r.repair(metaName, rootMeta(a)); err != nil {
				return rec, err
			}
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
	if err := r.repairArrays(); err != nil {
		return 0, err
	}
	if err := v.run(); err != nil {
		return 0, err
	}
	r.found.TornLines = uint64(v.torn)
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
		states, err := readStates(s.fs, s.at, no, s.spec.ShardFrames)
		if errors.Is(err, ErrCorrupt) {
			err = r.dropStates(no, captured)
		}
		switch {
		case err == nil:
			r.found.Sealed++
			if err := r.nameAnew(no, states); err != nil {
				return 0, err
			}
		case !vfs.IsNotExist(err):
			return 0, fmt.Errorf("reading the states of shard %d: %w", no, err)
		default:
			if err := r.shard(ctx, no, min((no+1)*s.spec.ShardFrames, captured)); err != nil {
				return 0, err
			}
		}
		if r.opts.Progress != nil {
			r.opts.Progress(no+1, total)
		}
	}
	return captured, s.grow(ctx, captured)
}

// dropStates removes a shard's damaged states: without them it is a shard that was published. How many frames there are
// is kept before, since they may have been the only ones to know.
func (r *recovery) dropStates(no, captured uint64) error {
	s := r.store
	path := s.at.columnChunk(colState, no)
	r.found.Repaired = append(r.found.Repaired, s.at.within(path))
	temp, kept := s.at.work("kept"), s.at.work(capturedStart+recoverName)
	if err := replace(s.fs, temp, kept, appendCaptured(nil, captured)); err != nil {
		return err
	}
	if err := s.fs.Remove(path); err != nil {
		return err
	}
	return fs.ErrNotExist
}

// shard seals one shard that has frames up to end.
func (r *recovery) shard(ctx context.Context, no, end uint64) error {
	found := RecoveredShard{Shard: no}
	sh, missing, err := r.reclaim(ctx, no, &found)
	if err != nil {
		return fmt.Errorf("shard %d: %w", no, err)
	}
	sh.alone = true
	if err := r.seal(ctx, sh, end, missing, &found); err != nil {
		return fmt.Errorf("shard %d: %w", no, errors.Join(err, sh.Close()))
	}
	r.found.Recovered++
	r.found.RecoveredFrames += found.Frames
	r.found.HostLost += found.HostLost
	r.found.Torn += found.Torn
	r.found.Damaged += found.Damaged
	if len(r.found.Shards) < BadLimit {
		r.found.Shards = append(r.found.Shards, found)
	}
	return sh.Close()
}

// seal accounts for every frame of a shard below end and completes it.
func (r *recovery) seal(ctx context.Context, sh *Shard, end uint64, missing map[uint64]unkept, found *RecoveredShard) error {
	if err := sh.relyOn(r.opts.Losses); err != nil {
		return err
	}
	if losses := sh.unaccounted(end, missing, found); len(losses) > 0 {
		if err := sh.Commit(ctx, nil, losses); err != nil {
			return err
		}
	}
	if err := sh.Seal(ctx, end); err != nil {
		return err
	}
	for seq := sh.first; seq < end; seq++ {
		if sh.State(seq) == frames.Durable {
			found.Frames++
		}
	}
	found.Lost = end - sh.first - found.Frames
	return nil
}

// unaccounted are the shard's frames below end that are neither durable nor in a ledger, as losses: those that a
// journal has, by their records, and the others. It counts them in found.
func (s *Shard) unaccounted(end uint64, missing map[uint64]unkept, found *RecoveredShard) []frames.Loss {
	var ls []frames.Loss
	for seq := s.first; seq < end; seq++ {
		if s.State(seq) != frames.Absent {
			continue
		}
		now := time.Now().UnixNano()
		l := frames.Loss{Seq: seq, Count: 1, FirstNS: now, LastNS: now, Reason: frames.HostLost, Stage: frames.AtHost}
		switch rec, ok := missing[seq]; {
		case !ok:
			found.HostLost++
		case rec.promised:
			l = rec.unwritten()
			found.Damaged++
		default:
			l = rec.unwritten()
			found.Torn++
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

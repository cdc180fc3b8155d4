package link

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The bounds of what peers say about themselves. It is kept for as long as they are there, and is part of the status.
const (
	maxWord   = 64   // bytes of a nonce
	maxHost   = 255  // bytes of a host's name
	maxPath   = 4096 // bytes of a path
	maxReason = 1024 // bytes of a reason in words; longer ones are cut
	maxClaims = 1024
	// maxCarriers is more than there are.
	maxCarriers = 8
	// maxShardFrames is the store's bound of K, MaxSeq what no run reaches: at a million frames a second it would last
	// for a hundred thousand years.
	maxShardFrames = 1 << 20
	maxSeq         = 1 << 62
)

// text refuses what is too long, is no UTF-8 or would do something to the terminal that shows it.
func text(what, s string, most int) error {
	if len(s) > most || !utf8.ValidString(s) || refusal.Plain(s) != s {
		return fmt.Errorf("%w: %s of %d bytes: want at most %d of plain text", ErrProtocol, what, len(s), most)
	}
	return nil
}

// valid refuses a request to join that nobody makes in good faith, or that is not to be answered.
func (j Join) valid() error {
	if err := frames.ValidCamera(j.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if j.PID < 0 || j.Restarts < 0 || j.Conn == 0 || len(j.Claims) > maxClaims {
		return fmt.Errorf("%w: %s asks to join as process %d under connection %d with %d claims after %d restarts",
			ErrProtocol, j.Name, j.PID, j.Conn, len(j.Claims), j.Restarts)
	}
	if len(j.Carriers) > maxCarriers {
		return fmt.Errorf("%w: %d carriers", ErrProtocol, len(j.Carriers))
	}
	for _, c := range j.Carriers {
		if err := text("a carrier's name", c, maxWord); err != nil {
			return err
		}
	}
	return errors.Join(text("a group's name", j.Group, maxWord), text("a host's name", j.Host, maxHost), text("a nonce", j.Nonce, maxWord))
}

// check refuses a state that no member has, and makes the words in it fit to be shown.
func (h *Health) check() error {
	for _, share := range []float64{h.Busy, h.Starved, h.Blocked} {
		if !(share >= 0 && share <= 1.01) { // of rounding
			return fmt.Errorf("%w: a share of %g of the time", ErrProtocol, share)
		}
	}
	if h.SyncP50NS < 0 || h.SyncP99NS < 0 || h.DurableP50NS < 0 || h.DurableP99NS < 0 {
		return fmt.Errorf("%w: a time of less than 0", ErrProtocol)
	}
	if len(h.Path) > maxPath || len(h.Fallback) > maxReason {
		return fmt.Errorf("%w: a path of %d bytes, a reason of %d", ErrProtocol, len(h.Path), len(h.Fallback))
	}
	h.Path, h.Fallback = refusal.Plain(h.Path), refusal.Plain(h.Fallback)
	return nil
}

// sound refuses a run that consumers would stumble over. camera is the member's, empty where any will do.
func (a *Armed) sound(camera string) error {
	s := &a.Spec
	if err := s.Geometry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch {
	case s.Run.IsZero():
		return fmt.Errorf("%w: the run has no id", ErrProtocol)
	case camera != "" && s.Camera != camera:
		return fmt.Errorf("%w: the run is of camera %q, this member is of %q", ErrProtocol, refusal.Clip(s.Camera, maxWord), camera)
	case s.ShardFrames == 0 || s.ShardFrames > maxShardFrames:
		return fmt.Errorf("%w: shards of %d frames: want 1 to %d", ErrProtocol, s.ShardFrames, maxShardFrames)
	case s.Frames > maxSeq:
		return fmt.Errorf("%w: a run of %d frames", ErrProtocol, s.Frames)
	case a.Policy != Lossless && a.Policy != Latest:
		return fmt.Errorf("%w: policy %q", ErrProtocol, refusal.Clip(string(a.Policy), maxWord))
	}
	return text("the slab's path", a.Slab, maxPath)
}

// inRange refuses frames that no run has, and losses that span shards.
func inRange(s *run.Spec, d *Delivery) error {
	switch d.Kind {
	case frames.KindAssign:
		for _, a := range d.Assign {
			if a.Epoch == 0 || a.Shard > maxSeq/s.ShardFrames {
				return fmt.Errorf("%w: shard %d under epoch %d", ErrProtocol, a.Shard, a.Epoch)
			}
		}
	case frames.KindLosses:
		for _, l := range d.Losses {
			if l.End() > maxSeq || s.Shard(l.Seq) != s.Shard(l.End()-1) {
				return fmt.Errorf("%w: a loss of %d frames from %d in shards of %d", ErrProtocol, l.Count, l.Seq, s.ShardFrames)
			}
		}
	case frames.KindEnd:
		if d.End.Captured > maxSeq {
			return fmt.Errorf("%w: a run of %d frames", ErrProtocol, d.End.Captured)
		}
	case frames.KindFinish:
		if d.Finish.Summary.Captured > maxSeq {
			return fmt.Errorf("%w: a run of %d frames", ErrProtocol, d.Finish.Summary.Captured)
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// recoverCmd completes a store. Its exit code is 0 where every frame is durable, 3 where the ledger names lost ones.
type recoverCmd struct {
	Store       string `arg:"" help:"The store's folder."`
	DiscardSlab bool   `name:"discard-slab" help:"Give up the frames that only the run's shared memory still has, and remove it."`
	JSON        bool   `name:"json" help:"Print what was found and done as one JSON object, the last line of stdout."`
}

func (r *recoverCmd) run(ctx context.Context, p *process) error {
	if info, err := os.Stat(r.Store); err != nil || !info.IsDir() {
		return exit.Errorf(exit.Usage, "%s is no folder", r.Store)
	}
	bar := &counter{w: p.stderr, tty: isTerminal(p.stderr), unit: "shards"}
	opts := store.RecoverOptions{Progress: bar.show}
	left, err := r.slab(&opts)
	if err != nil {
		return err
	}
	found, err := store.Recover(ctx, vfs.OS{}, r.Store, opts)
	bar.clear()
	if left != nil {
		if err == nil {
			err = left.Remove()
		}
		err = errors.Join(err, left.Close())
	}
	switch {
	case ctx.Err() != nil:
		return exit.Errorf(exit.Interrupted, "interrupted: call it again")
	case errors.Is(err, store.ErrInUse):
		return &exit.Error{Code: exit.Usage, Err: err}
	case vfs.IsFull(err):
		return &exit.Error{Code: exit.DiskFull, Err: err}
	case err != nil:
		return &exit.Error{Code: exit.Damaged, Err: err}
	}
	if r.JSON {
		if err := printJSON(p.stdout, found); err != nil {
			return fmt.Errorf("printing what was found: %w", err)
		}
	} else {
		printRecovery(p.stdout, found)
	}
	if found.Lost > 0 {
		return exit.Errorf(exit.Lost, "%d of %d frames are lost: the store's ledger names them", found.Lost, found.Captured)
	}
	return nil
}

// slab looks for the run's slab, with which an acquire can still deliver what the disk does not have. Where that is to
// be given up it is the caller's, with what it knows in opts. Beside a finished store it is what a recovery left that was
// killed in its last step.
func (r *recoverCmd) slab(opts *store.RecoverOptions) (*slab.Slab, error) {
	a, _, err := store.KnownAttributes(vfs.OS{}, r.Store)
	if err != nil {
		return nil, &exit.Error{Code: exit.Damaged, Err: err}
	}
	slabs, err := slab.List(shmDir)
	if err != nil {
		return nil, err
	}
	for _, i := range slabs {
		switch {
		case i.Err != nil || i.Spec.Run != a.Run || a.Finished && !r.DiscardSlab:
			continue
		case i.InUse:
			return nil, exit.Errorf(exit.Usage, "acquire works on the run of %s", r.Store)
		case !r.DiscardSlab:
			return nil, exit.Errorf(exit.Usage,
				"%s still has the run, with %d frames in it: start acquire for %s again and it goes on, or give that up with --discard-slab",
				i.Path, i.Held, i.Spec.Camera)
		}
		left, err := slab.Resume(i.Path)
		if err != nil {
			return nil, err
		}
		opts.Captured, opts.Losses = left.Captured(), lostWith(left)
		return left, nil
	}
	return nil, nil
}

// lostWith is what a slab knows of frames that may not be durable: losses that no ledger has confirmed, and the frames
// that go with it.
func lostWith(s *slab.Slab) []frames.Loss {
	var ls []frames.Loss
	for _, l := range s.Losses() {
		ls = append(ls, l)
	}
	s.Held(func(_ int, r slab.Record) {
		ls = append(ls, frames.Loss{
			Seq: r.Seq, Count: 1, FirstFrameID: r.FrameID, LastFrameID: r.FrameID, FirstNS: r.HostNS, LastNS: r.HostNS,
			Reason: frames.Stopped, Stage: frames.AtWriter,
		})
	})
	return ls
}

// printRecovery tells people what was found and done.
func printRecovery(w io.Writer, r store.Recovery) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer func() { _ = t.Flush() }() // as with every line to stdout
	if r.Nothing {
		fmt.Fprintf(w, "%s: was finished already, nothing is to be done; sluice verify tells whether it is whole\n", r.Store)
	} else {
		fmt.Fprintf(w, "%s: recovered\n", r.Store)
	}
	fmt.Fprintf(t, "  run\t%s\n", r.Run.Short())
	fmt.Fprintf(t, "  frames\tcaptured %d, written %d, lost %d%s\n", r.Captured, r.Written, r.Lost, byReason(r.LostByReason))
	if !r.Nothing {
		fmt.Fprintf(t, "  shards\t%d were complete, %d more are now\n", r.Sealed, r.Recovered)
	}
	for _, s := range r.Shards[:min(len(r.Shards), shownBad)] {
		fmt.Fprintf(t, "  shard %d\t%s\n", s.Shard, shardFound(s))
	}
	if more := len(r.Shards) - shownBad; more > 0 {
		fmt.Fprintf(t, "  and more\t%d shards: --json names them\n", more)
	}
	if len(r.Repaired) > 0 {
		fmt.Fprintf(t, "  written anew\t%s\n", strings.Join(r.Repaired, ", "))
	}
	if r.TornLines > 0 {
		fmt.Fprintf(t, "  dropped\t%d torn ledger lines\n", r.TornLines)
	}
	if r.Lost > 0 {
		fmt.Fprintf(t, "  ledger\t%s names each lost frame\n", filepath.Join(r.Store, "ledger"))
	}
}

// shardFound tells what was found of one shard.
func shardFound(s store.RecoveredShard) string {
	text := fmt.Sprintf("%d frames", s.Frames)
	for _, part := range []struct {
		n    uint64
		what string
	}{
		{s.Lost - s.HostLost - s.Torn - s.Damaged, "known as lost"},
		{s.HostLost, "had not reached the disk"},
		{s.Torn, "cut short by the crash"},
		{s.Damaged, "damaged"},
		{uint64(s.TornRecords), "torn records dropped"},
		{uint64(s.BadRecords), "damaged records dropped"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

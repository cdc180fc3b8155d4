package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// verifyCmd proves a store. Its exit code is 0 for a finished store in which every frame is durable or in the
// ledger, losses among them or not, and 4 for any other.
type verifyCmd struct {
	Store string `arg:"" help:"The store's folder."`
	JSON  bool   `name:"json" help:"Print the report as one JSON object, the last line of stdout."`
}

func (v *verifyCmd) run(ctx context.Context, p *process) error {
	if info, err := os.Stat(v.Store); err != nil || !info.IsDir() {
		return exit.Errorf(exit.Usage, "%s is no folder", v.Store)
	}
	bar := &counter{w: p.stderr, tty: isTerminal(p.stderr), unit: "frames"}
	report, err := store.Verify(ctx, vfs.OS{}, v.Store, store.VerifyOptions{Progress: bar.show})
	bar.clear()
	if ctx.Err() != nil {
		return exit.Errorf(exit.Interrupted, "interrupted")
	}
	if err != nil {
		return &exit.Error{Code: exit.Damaged, Err: err}
	}
	if v.JSON {
		if err := printJSON(p.stdout, report); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
	} else {
		printReport(p.stdout, report)
	}
	switch {
	case report.OK:
		return nil
	case report.InUse:
		return exit.Errorf(exit.Damaged, "%s is being written: verify it when the run has ended", v.Store)
	case !report.Finished:
		return exit.Errorf(exit.Damaged, "%[1]s is unfinished: sluice recover %[1]s completes it", v.Store)
	}
	return exit.Errorf(exit.Damaged, "%s is damaged: what is not named above is whole", v.Store)
}

// shownBad is how many findings people are told; --json has more.
const shownBad = 20

// printReport tells people what was found.
func printReport(w io.Writer, r store.Report) {
	verdict := "damaged"
	switch {
	case r.OK:
		verdict = "sound"
	case r.InUse:
		verdict = "being written"
	case !r.Finished:
		verdict = "unfinished"
	}
	fmt.Fprintf(w, "%s: %s\n", r.Store, verdict)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer func() { _ = t.Flush() }() // as with every line to stdout
	fmt.Fprintf(t, "  run\t%s\n", r.Run.Short())
	fmt.Fprintf(t, "  frames\tcaptured %d, written %d, lost %d%s\n", r.Captured, r.Written, r.Lost, byReason(r.LostByReason))
	if !r.Finished {
		fmt.Fprintf(t, "  durable so far\t%d, of which readers find the first %d\n", r.Written+r.Recoverable, r.ReadableUntil)
	}
	if r.Finished && r.Corrupt+r.Missing > 0 {
		fmt.Fprintf(t, "  bad\tcorrupt %d, missing %d\n", r.Corrupt, r.Missing)
	}
	bad := r.Bad
	if !r.Finished {
		bad = slices.DeleteFunc(slices.Clone(bad), func(b store.BadRange) bool { return b.File == "" }) // under way, not bad
	}
	for _, b := range bad[:min(len(bad), shownBad)] {
		fmt.Fprintf(t, "  %s\t%s\n", seqs(b), badText(b))
	}
	for _, text := range r.Problems[:min(len(r.Problems), shownBad)] {
		fmt.Fprintf(t, "  problem\t%s\n", text)
	}
	if more := max(0, len(bad)-shownBad) + max(0, len(r.Problems)-shownBad); more > 0 {
		fmt.Fprintf(t, "  and more\t%d: --json names them\n", more)
	}
}

// seqs names a range of frames.
func seqs(b store.BadRange) string {
	if b.Count == 1 {
		return fmt.Sprintf("frame %d", b.Seq)
	}
	return fmt.Sprintf("frames %d to %d", b.Seq, b.Seq+b.Count-1)
}

// badText tells what is wrong with a range of frames, and where.
func badText(b store.BadRange) string {
	text := b.What
	if b.Want != "" {
		text += fmt.Sprintf(": %s, want %s", b.Found, b.Want)
	}
	switch {
	case b.File == "":
		return text
	case b.Bytes > 0:
		return fmt.Sprintf("%s (%s, %d bytes at %d)", text, b.File, b.Bytes, b.Offset)
	}
	return fmt.Sprintf("%s (%s)", text, b.File)
}

// counter shows progress in place on a terminal, and nothing elsewhere.
type counter struct {
	w    io.Writer
	tty  bool
	unit string // what is counted

	mu    sync.Mutex // guards what follows, and w
	shown time.Time
}

// show may be called from several goroutines.
func (c *counter) show(done, total uint64) {
	if !c.tty {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.shown) > 100*time.Millisecond {
		c.shown = now
		fmt.Fprintf(c.w, "\r%d of %d %s\x1b[K", done, total, c.unit)
	}
}

// clear removes the line.
func (c *counter) clear() {
	if c.tty {
		fmt.Fprint(c.w, "\r\x1b[K")
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

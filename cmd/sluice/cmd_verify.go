package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
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
	if !report.OK && !report.Finished {
		return exit.Errorf(exit.Damaged, "%[1]s is unfinished: sluice recover %[1]s completes it", v.Store)
	}
	if !report.OK {
		return exit.Errorf(exit.Damaged, "%s is damaged", v.Store)
	}
	return nil
}

// printReport tells people what was found.
func printReport(w io.Writer, r store.Report) {
	verdict := "damaged"
	switch {
	case r.OK:
		verdict = "sound"
	case !r.Finished:
		verdict = "unfinished"
	}
	fmt.Fprintf(w, "%s: %s\n", r.Store, verdict)
	fmt.Fprintf(w, "  run %s: captured %d, written %d, lost %d%s\n", r.Run.Short(), r.Captured, r.Written, r.Lost, byReason(r.LostByReason))
	if r.Corrupt+r.Missing+r.Recoverable > 0 {
		fmt.Fprintf(w, "  corrupt %d, missing %d, recoverable %d\n", r.Corrupt, r.Missing, r.Recoverable)
	}
	for _, b := range r.Bad {
		if b.Count == 1 {
			fmt.Fprintf(w, "  frame %d: %s\n", b.Seq, b.What)
		} else {
			fmt.Fprintf(w, "  frames %d to %d: %s\n", b.Seq, b.Seq+b.Count-1, b.What)
		}
	}
	for _, text := range r.Problems {
		fmt.Fprintf(w, "  %s\n", text)
	}
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

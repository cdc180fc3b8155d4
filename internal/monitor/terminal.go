package monitor

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// terminal draws the panel in place, below the lines that were said. It reads no input and changes no mode of the
// terminal: Ctrl-C stays a signal, and a process that is killed leaves nothing to be put right.
type terminal struct {
	w    io.WriteCloser
	size func() (width, height int)

	mu    sync.Mutex // guards what follows, and w
	panel string
	drawn int // lines of the panel that are on the screen, above the cursor
}

var _ Screen = (*terminal)(nil)

// Show implements [Screen].
func (t *terminal) Show(s bus.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.panel = Panel(s, time.Now())
	t.draw("")
}

// Say implements [Screen].
func (t *terminal) Say(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draw(refusal.Clip(line, maxLine) + "\n")
}

// Close implements [Screen].
func (t *terminal) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.panel = ""
	t.draw("")
	_ = t.w.Close()
}

// draw replaces the panel on the screen by said and the panel as it is now, in one write. Lines are cut at the
// terminal's width: one that wrapped would take more room than is counted.
func (t *terminal) draw(said string) {
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", t.drawn)
	}
	b.WriteString(said)
	t.drawn = 0
	if t.panel != "" {
		width, height := t.size()
		for line := range strings.Lines(t.panel) {
			if t.drawn+1 >= height {
				break
			}
			b.WriteString(ansi.Truncate(strings.TrimSuffix(line, "\n"), width, "…"))
			b.WriteByte('\n')
			t.drawn++
		}
	}
	// What can go wrong is the terminal itself: then there is nowhere to say it.
	_, _ = io.WriteString(t.w, b.String())
}

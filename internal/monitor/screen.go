package monitor

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// Screen shows what goes on. Its methods may be called concurrently.
type Screen interface {
	// Show replaces the status that is shown.
	Show(s bus.Status)
	// Say adds a line that stays. What a terminal would obey rather than show is taken out of it.
	Say(line string)
	// Close removes the status and frees the terminal.
	Close()
}

// showTime is how long showing something may take.
const showTime = 250 * time.Millisecond

// Open makes the screen for w: a panel refreshed in place where w is a terminal, else plain lines, a status at
// most every interval and whenever the state changes. No method waits long for who reads what is shown.
func Open(w io.Writer, interval time.Duration) Screen {
	out := NewOutput(w, showTime)
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return &terminal{w: out, size: func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 || height < 1 {
				return 80, 24
			}
			return width, height
		}}
	}
	return &plain{w: out, interval: interval}
}

// plain writes lines.
type plain struct {
	w        io.WriteCloser
	interval time.Duration

	mu    sync.Mutex // guards what follows, and w
	shown time.Time
	state bus.State
}

var _ Screen = (*plain)(nil)

// Show implements [Screen].
func (p *plain) Show(s bus.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if s.State == p.state && now.Sub(p.shown) < p.interval {
		return
	}
	p.shown, p.state = now, s.State
	fmt.Fprintln(p.w, Line(s))
}

// Say implements [Screen].
func (p *plain) Say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, refusal.Clip(line, maxLine))
}

// Close implements [Screen].
func (p *plain) Close() { _ = p.w.Close() }

package monitor

import (
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/sluicedaq/sluice/internal/bus"
)

// framesPerSecond is how often the panel is drawn at most.
const framesPerSecond = 10

// terminal draws the panel in place. It reads no input, so that Ctrl-C stays a signal.
type terminal struct {
	program *tea.Program
	done    chan struct{}
}

var _ Screen = (*terminal)(nil)

// openTerminal takes over the terminal w until Close.
func openTerminal(w io.Writer) *terminal {
	t := &terminal{
		program: tea.NewProgram(panel{}, tea.WithInput(nil), tea.WithOutput(w), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond)),
		done:    make(chan struct{}),
	}
	go func() {
		defer close(t.done)
		// What can go wrong is the terminal itself: then there is nowhere to say it.
		_, _ = t.program.Run()
	}()
	return t
}

// Show implements [Screen].
func (t *terminal) Show(s bus.Status) { t.program.Send(s) }

// Say implements [Screen]. It returns when the line is on its way to the terminal, so that a Close does not
// overtake it.
func (t *terminal) Say(line string) {
	l := said{line: line, done: make(chan struct{})}
	t.program.Send(l)
	select {
	case <-l.done:
	case <-t.done:
	}
}

// Close implements [Screen].
func (t *terminal) Close() {
	t.program.Send(closing{})
	<-t.done
}

// The messages of the panel beside bus.Status.
type (
	said struct {
		line string
		done chan struct{}
	}
	printed struct{ done chan struct{} }
	closing struct{}
)

// panel is the drawn state.
type panel struct {
	status bus.Status
	shown  bool
}

var _ tea.Model = panel{}

// Init implements [tea.Model].
func (p panel) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (p panel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case bus.Status:
		p.status, p.shown = m, true
	case said:
		return p, tea.Sequence(tea.Println(m.line), func() tea.Msg { return printed{m.done} })
	case printed:
		close(m.done)
	case closing:
		return panel{}, tea.Quit
	}
	return p, nil
}

// View implements [tea.Model].
func (p panel) View() string {
	if !p.shown {
		return ""
	}
	return Panel(p.status, time.Now())
}

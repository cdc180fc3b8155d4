package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/monitor"
)

// humanLine makes of a child's log line in JSON what a person wants to read; other lines stay as they are. It
// is empty for what is said elsewhere: the error that a refused request comes back with.
func humanLine(process, line string) string {
	var fields map[string]any
	if json.Unmarshal([]byte(line), &fields) != nil {
		return process + ": " + line
	}
	message, ok := fields["msg"].(string)
	if !ok {
		return process + ": " + line
	}
	if fields["event"] == string(bus.EventRefused) {
		return ""
	}
	level, _ := fields["level"].(string)
	for _, k := range []string{"time", "level", "msg", "process", "event", "run"} {
		delete(fields, k)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", process)
	if level != "WARN" && level != "" {
		fmt.Fprintf(&b, "%s: ", strings.ToLower(level))
	}
	b.WriteString(message)
	for i, k := range slices.Sorted(maps.Keys(fields)) {
		separator := ", "
		if i == 0 {
			separator = " ("
		}
		fmt.Fprintf(&b, "%s%s: %v", separator, k, fields[k])
	}
	if len(fields) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// sayer is a writer of log lines that puts them on the screen, where they don't get into the panel's way.
type sayer struct {
	to      *hold
	process string
	// last begins the line in which the program tells what it ends of: its supervisor passes it on.
	last string
	raw  bool // leave lines as they are
}

var _ io.Writer = sayer{}

// Write says one log line: a slog handler writes each in one piece.
func (s sayer) Write(b []byte) (int, error) {
	s.say(string(bytes.TrimSpace(b)))
	return len(b), nil
}

func (s sayer) say(line string) {
	if s.last != "" && strings.HasPrefix(line, s.last) {
		return
	}
	if !s.raw {
		line = humanLine(s.process, line)
	}
	if line != "" {
		s.to.say(line)
	}
}

// maxHeld bounds the lines that are held back.
const maxHeld = 100

// hold keeps what children say until it is known whether there will be a run: where the user's own error is the
// reason why not, that error is the one line to show.
type hold struct {
	screen monitor.Screen

	mu    sync.Mutex // guards what follows
	lines []string
	open  bool
}

func (h *hold) say(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		h.screen.Say(line)
	} else if len(h.lines) < maxHeld {
		h.lines = append(h.lines, line)
	}
}

// release says what was held back, and everything from now on.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = true
	for _, line := range h.lines {
		h.screen.Say(line)
	}
	h.lines = nil
}

package supervise

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// What a child may say: so many lines a second, after a first burst, each cut at maxLine bytes.
const (
	linesPerSecond = 10
	linesAtOnce    = 40
	maxLine        = 4096
)

// lines hands a child's output on, line by line and at a bounded rate, and remembers the last line.
type lines struct {
	to    func(string)
	limit *rate.Limiter

	mu      sync.Mutex // guards what follows
	partial []byte
	last    string
	left    int // lines left out
}

func newLines(to func(string)) *lines {
	return &lines{to: to, limit: rate.NewLimiter(linesPerSecond, linesAtOnce)}
}

// Write implements io.Writer. It never fails: what a child says must not stop it.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if room := maxLine - len(l.partial); len(line) > room {
			line = line[:room]
		}
		l.partial = append(l.partial, line...)
		if !ok {
			return n, nil
		}
		l.say(strings.TrimSpace(string(l.partial)))
		l.partial, b = l.partial[:0], rest
	}
}

// flush says what has no newline at its end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say(strings.TrimSpace(string(l.partial)))
	l.partial = l.partial[:0]
}

func (l *lines) say(line string) {
	if line == "" {
		return
	}
	l.last = line
	if !l.limit.Allow() {
		l.left++
		return
	}
	if l.left > 0 { // a line of its own: who reads the child's lines finds each as it was written
		l.to(fmt.Sprintf("%d lines left out", l.left))
		l.left = 0
	}
	l.to(line)
}

// lastLine is the last line that was said.
func (l *lines) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

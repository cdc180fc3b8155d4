package refusal

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Kind is what was refused. docs/subjects.md lists the kinds; a process has no others, so the book stays small.
type Kind string

// The kinds.
const (
	Packet  Kind = "packet"  // on the link, that is none, or is on a subject that it can't be on
	Join    Kind = "join"    // a request to join
	Unknown Kind = "unknown" // a packet of a connection that is not known (any more)
	Health  Kind = "health"  // a heartbeat
	Message Kind = "message" // of a connection's other end, that breaks the link's rules
	Offer   Kind = "offer"   // a frame that does not lie where the offer says
	Stale   Kind = "stale"   // an answer that does not fit the present state: repeats and late ones look like that
	Unkept  Kind = "unkept"  // a packet for which there was no room now; it comes again
	Request Kind = "request" // on a control subject
	Answer  Kind = "answer"  // a request whose answer was to go to a subject that is no inbox
	Batch   Kind = "batch"   // partial results for the combiner
	Result  Kind = "result"  // an analyser's result for the store
	Dropped Kind = "dropped" // messages that came faster than the process took them
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{Packet, Join, Unknown, Health, Message, Offer, Stale, Unkept, Request, Answer, Batch, Result, Dropped}
}

// sayEvery is how often a kind is logged at most.
const sayEvery = time.Second

// maxText bounds what a peer's words take of a log line, in bytes.
const maxText = 300

// Book has a process's refusals. Its methods may be called concurrently and never block. A nil Book takes nothing down.
type Book struct {
	logger *slog.Logger

	mu     sync.Mutex // guards what follows
	counts map[Kind]uint64
	said   map[Kind]saying
}

// saying is what the log has of a kind.
type saying struct {
	last    time.Time
	skipped uint64 // since then
}

// New returns an empty book that logs to logger; nil logs nothing.
func New(logger *slog.Logger) *Book {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Book{logger: logger, counts: map[Kind]uint64{}, said: map[Kind]saying{}}
}

// Count takes n refusals down that are not worth a line: such as come without anyone's fault, too.
func (b *Book) Count(k Kind, n uint64) {
	if b == nil || n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[k] += n
}

// Note takes a refusal down and logs it, with why and pairs of keys and values as slog has them: at most one line a
// second of a kind, which says how many it stands for.
func (b *Book) Note(k Kind, why error, args ...any) {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.counts[k]++
	s := b.said[k]
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < sayEvery {
		s.skipped++
		b.said[k] = s
		b.mu.Unlock()
		return
	}
	b.said[k] = saying{last: now}
	b.mu.Unlock()
	args = append([]any{"kind", string(k), "error", Clip(why.Error(), maxText)}, args...)
	if s.skipped > 0 {
		args = append(args, "suppressed", s.skipped)
	}
	b.logger.Warn("refused", args...)
}

// Counts are the refusals so far by kind, nil where there are none.
func (b *Book) Counts() map[Kind]uint64 {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.counts) == 0 {
		return nil
	}
	return maps.Clone(b.counts)
}

// Clip makes a peer's text fit for one line: control characters and what is no UTF-8 become spaces, and what is beyond
// so many bytes is cut off.
func Clip(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return Plain(s)
}

// Plain replaces what a terminal would obey rather than show: control characters, marks that turn the writing's
// direction, and what is no UTF-8.
func Plain(s string) string {
	clean := func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError,
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return ' '
		}
		return r
	}
	return strings.Map(clean, s)
}
